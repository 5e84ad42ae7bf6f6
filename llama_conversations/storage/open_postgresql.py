"""Open a PostgreSQL database: its schema brought up to date by one process at a time, then a pool of connections."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from llama_conversations.config.postgres_backend import PostgresBackend
from llama_conversations.errors import StorageUnavailable
from llama_conversations.storage.dialects.postgresql_options import take_options
from llama_conversations.storage.dialects.postgresql_tls import TlsSettings, UnusableCertificate
from llama_conversations.storage.migrations import HEAD_REVISION
from llama_conversations.storage.migrations.whole_schema import whole_schema

try:
    from llama_conversations.storage.dialects.postgresql import (
        DIALECT,
        Connection,
        PostgresqlSettings,
        connect,
        new_node,
        open_database,
    )
    from llama_conversations.storage.dialects.postgresql_failures import DRIVER_ERRORS, is_about_encryption
except ModuleNotFoundError as error:
    raise StorageUnavailable(
        "PostgreSQL needs a package that is not installed: run `pip install 'llama-conversations[postgres]'`."
    ) from error

if TYPE_CHECKING:
    from llama_conversations.storage.database import Database

UPGRADE_LOCK = 0x6C6C616D615F6376
"""Key of the advisory lock under which the schema is upgraded."""

_PROTOCOL_VIOLATION = "08P01"
"""The code with which pgbouncer refuses parameters of a session that it cannot keep."""

_POOLED = "behind a pooler it takes transaction_pooling: true"
_SETTING = "SELECT setting FROM pg_settings WHERE name = $1"
_REVISION = "SELECT version_num FROM alembic_version"
_BEGIN_ALONE = f"""
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock({UPGRADE_LOCK})
"""
_HAS_REVISION = "SELECT 1 FROM pg_class WHERE relname = 'alembic_version' AND pg_table_is_visible(oid)"
"""Not ``to_regclass``: that a table is not there is remembered by a session, until its next transaction at least."""


@asynccontextmanager
async def open_postgresql(backend: PostgresBackend) -> AsyncIterator[Database]:
    """The database, its schema upgraded; what runs is finished at the end.

    Errors: ``StorageUnavailable``, ``DatabaseTooNew``.
    """
    settings = postgresql_settings(backend)
    await upgraded_postgresql(settings)
    with opening(settings):
        database = await open_database(settings)
    try:
        yield database
    finally:
        await database.close()


def postgresql_settings(backend: PostgresBackend) -> PostgresqlSettings:
    """How a server of run.yaml is reached."""
    return PostgresqlSettings(
        dsn=backend.address.dsn,
        location=backend.location,
        tls=TlsSettings.of(backend.address.query),
        node=new_node(),
        pool_size=backend.pool_size,
        statement_timeout=backend.statement_timeout_seconds,
        connect_timeout=backend.connect_timeout_seconds,
        transaction_pooling=backend.transaction_pooling,
    )


@contextmanager
def opening(settings: PostgresqlSettings) -> Iterator[None]:
    """Whatever the driver cannot do is told as ``StorageUnavailable``."""
    try:
        settings.tls.check_files()
        yield
    except (*DRIVER_ERRORS, UnusableCertificate) as error:
        reason = _reason(error, settings)
        raise StorageUnavailable(f"The database {settings.location} cannot be opened: {reason}") from error


def _reason(error: Exception, settings: PostgresqlSettings) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TimeoutError):
        reason = f"no answer within {settings.connect_timeout:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate cannot be verified: {error.verify_message}"
    if isinstance(error.__cause__, DRIVER_ERRORS):  # with prefer and allow the driver tries twice
        reason += f"; before that: {error.__cause__}"
    if getattr(error, "sqlstate", None) == _PROTOCOL_VIOLATION and settings.session_limits:
        reason += f"; {_POOLED}"
    tls = str(settings.tls)
    return f"{reason} ({tls})" if tls and is_about_encryption(error) else reason


@asynccontextmanager
async def connected(settings: PostgresqlSettings) -> AsyncIterator[Connection]:
    """A connection of its own. Errors: ``StorageUnavailable``."""
    with opening(settings):
        connection = await connect(settings)
        try:
            yield connection
        finally:
            with suppress(*DRIVER_ERRORS):
                await connection.close()


async def upgraded_postgresql(settings: PostgresqlSettings) -> str | None:
    """Bring the schema to the newest revision; the one that it had.

    Errors: ``StorageUnavailable``, ``DatabaseTooNew``.
    """
    async with connected(settings) as connection:
        await _check_session(connection, settings)
        found = await postgresql_revision(connection)
        revision = await _make_schema(connection, settings) if found is None else found
    if revision != HEAD_REVISION:
        # Alembic is slow to import and seldom needed: only when there is something to upgrade.
        from llama_conversations.storage.migrations.upgrade_postgresql import upgrade_postgresql

        with opening(settings):
            await upgrade_postgresql(settings, UPGRADE_LOCK)
    return found


async def _make_schema(connection: Connection, settings: PostgresqlSettings) -> str | None:
    """Make the whole schema, in one transaction; the revision that there is then.

    Whoever comes meanwhile waits for the lock, and finds what was made. The lock belongs to the transaction, so that a
    pooler may stand between; the transaction ends with the connection if it fails.
    """
    take_options()
    try:
        await connection.execute(_BEGIN_ALONE)
        if await postgresql_revision(connection) is None:
            await connection.execute(";".join(whole_schema(DIALECT)))
        revision = await postgresql_revision(connection)
        await connection.execute("COMMIT")
    except DRIVER_ERRORS as error:
        reason = _reason(error, settings)
        raise StorageUnavailable(f"The database {settings.location} cannot be upgraded: {reason}") from error
    return revision


async def _check_session(connection: Connection, settings: PostgresqlSettings) -> None:
    """See whether the limits hold that the session was opened with: a pooler may be told to drop them.

    Such a pooler may also give each transaction another session, which would fail later, and at random.

    Errors: ``StorageUnavailable``.
    """
    for name, asked in settings.session_limits.items():
        rows = await connection.fetch(_SETTING, name)
        if str(rows[0][0]) != asked:
            raise StorageUnavailable(
                f"The database {settings.location} cannot be opened: its sessions do not keep {name}; {_POOLED}"
            )


async def postgresql_revision(connection: Connection) -> str | None:
    """The revision of a database's schema; ``None`` where there is none."""
    if not await connection.fetch(_HAS_REVISION):
        return None
    rows = await connection.fetch(_REVISION)
    return str(rows[0][0]) if rows else None
