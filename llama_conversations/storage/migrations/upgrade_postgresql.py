"""Upgrade a PostgreSQL schema: in one transaction, by one process at a time."""

from __future__ import annotations

import secrets

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from llama_conversations.errors import StorageUnavailable
from llama_conversations.storage.dialects.postgresql import PostgresqlSettings, connect
from llama_conversations.storage.migrations.upgrade import upgrade

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


def _statement_name() -> str:
    """A name that no other client of a pooler has given to a statement."""
    return f"upgrade_{secrets.token_hex(8)}"


async def upgrade_postgresql(settings: PostgresqlSettings, lock: int) -> None:
    """Apply the revisions that the database lacks; whoever comes meanwhile waits, and finds them applied.

    Args:
        lock: Key of the advisory lock that is held. It belongs to the transaction, so that a pooler may stand between.

    Errors: ``DatabaseTooNew``, ``StorageUnavailable``.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(settings),
        connect_args={"prepared_statement_name_func": _statement_name},
        poolclass=NullPool,
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(_LOCK, {"key": lock})
            await connection.run_sync(upgrade, settings.location)
    except DBAPIError as error:
        raise StorageUnavailable(f"The database {settings.location} cannot be upgraded: {error.orig}") from error
    finally:
        await engine.dispose()
