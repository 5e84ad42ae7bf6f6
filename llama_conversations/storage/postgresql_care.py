"""Care for a PostgreSQL database: what its own tools do is left to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from llama_conversations.config.postgres_backend import PostgresBackend
from llama_conversations.storage.care import DatabaseStatus, DoesNotApply, Upgraded, Vacuumed
from llama_conversations.storage.dialects.postgresql import Connection
from llama_conversations.storage.migrations import HEAD_REVISION
from llama_conversations.storage.open_postgresql import (
    connected,
    postgresql_revision,
    postgresql_settings,
    upgraded_postgresql,
)

KIND = "PostgreSQL"
_SIZE = "SELECT pg_database_size(current_database())"
_IS_THERE = "SELECT 1 WHERE to_regclass($1) IS NOT NULL"


class PostgresqlCare:
    """Implements ``care.DatabaseCare``."""

    def __init__(self, backend: PostgresBackend) -> None:
        self._settings = postgresql_settings(backend)

    def status(self) -> DatabaseStatus:
        """By a connection of its own."""
        return asyncio.run(self._status())

    def upgrade(self) -> Upgraded:
        """As a server does."""
        before = asyncio.run(upgraded_postgresql(self._settings))
        return Upgraded(before, HEAD_REVISION)

    def vacuum(self) -> Vacuumed:
        """Refused: autovacuum does it."""
        raise DoesNotApply("vacuum", KIND, "Its autovacuum does that; to give space back at once, use its VACUUM FULL.")

    def backup(self, target: Path, *, overwrite: bool) -> int:  # noqa: ARG002
        """Refused: pg_dump does it."""
        raise DoesNotApply("backup", KIND, "Use pg_dump, or pg_basebackup with an archive of its log.")

    async def _status(self) -> DatabaseStatus:
        async with connected(self._settings) as connection:
            [[size]] = await connection.fetch(_SIZE)
            responses = await _rows(connection, "responses", "SELECT status, count(*) FROM responses GROUP BY status")
            return DatabaseStatus(
                location=self._settings.location,
                revision=await postgresql_revision(connection),
                newest=HEAD_REVISION,
                size=cast("int", size),
                free=None,
                conversations=await _count(connection, "conversations"),
                items=await _count(connection, "conversation_items"),
                responses=dict(responses),
                events=await _count(connection, "response_events"),
            )


async def _rows(connection: Connection, table: str, sql: str) -> list[tuple[str, int]]:
    if not await connection.fetch(_IS_THERE, table):
        return []
    return [(cast("str", name), cast("int", number)) for name, number in await connection.fetch(sql)]


async def _count(connection: Connection, table: str) -> int:
    return sum(number for _, number in await _rows(connection, table, f"SELECT '', count(*) FROM {table}"))  # noqa: S608
