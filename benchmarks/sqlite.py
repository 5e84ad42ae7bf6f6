"""SQLite files to measure on, opened as the server opens them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.copies import INSERT_TOKEN, TOKENS, copying, sample, tokens
from benchmarks.databases import INSERT_CONVERSATION, INSERT_ITEM, SELECT_PAGE, Bare, Database, ItemRow
from llama_conversations.config.run_config import SqliteBackend
from llama_conversations.storage.dialects.sqlite import connect
from llama_conversations.storage.open import sqlite_settings, upgraded_sqlite

_FOR_FILLING = ("journal_mode=MEMORY", "synchronous=OFF", "cache_size=-262144")


def _written_for_sqlite(sql: str) -> str:
    return sql.replace("$", "?")


@dataclass(frozen=True)
class SqliteFiles:
    """Files in folders of their own in ``directory``."""

    directory: Path
    name: str = "sqlite"

    @asynccontextmanager
    async def new(self) -> AsyncIterator[Database]:
        """An empty file with the tables."""
        with TemporaryDirectory(prefix="sqlite-", dir=self.directory) as name:
            made = SqliteFile(Path(name) / "state.db")
            await upgraded_sqlite(sqlite_settings(made.settings))
            yield made


@dataclass(frozen=True)
class SqliteFile:
    """A file; the server itself is all that works on it."""

    path: Path

    @property
    def settings(self) -> SqliteBackend:
        """With the defaults: durable against a loss of power."""
        return SqliteBackend(type="sql_sqlite", path=self.path)

    @property
    def backend(self) -> Mapping[str, object]:
        """As it stands in a run.yaml."""
        return {"type": "sql_sqlite", "path": str(self.path)}

    def cpu_seconds(self) -> float:
        """It has no process."""
        return 0.0

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Bare]:
        """The standard library's ``sqlite3``."""
        with closing(connect(sqlite_settings(self.settings))) as connection:
            yield BareSqlite(connection)

    async def fill(self, conversation_id: str, count: int) -> Sequence[str]:
        """Have copies of a conversation."""
        made = tokens(conversation_id, count)
        with closing(sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)) as connection:

            def work() -> None:
                for pragma in _FOR_FILLING:
                    connection.execute(f"PRAGMA {pragma}")
                connection.execute("BEGIN")
                connection.execute(TOKENS + " WITHOUT ROWID")
                connection.executemany(_written_for_sqlite(INSERT_TOKEN), made)
                for statement in copying(conversation_id):
                    connection.execute(statement)
                connection.execute("COMMIT")

            await _interruptible(connection, work)
        return sample(conversation_id, made)

    async def logged_by(self, operation: Callable[[], Awaitable[object]], times: int) -> Mapping[str, float]:
        """The length of the log, emptied before; its pages are logged whole each time."""
        sizes = []
        for _ in range(times):
            with closing(sqlite3.connect(self.path, timeout=10)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            await operation()
            sizes.append(self.path.with_name(f"{self.path.name}-wal").stat().st_size)
        return {"bytes": median(sizes)}


@dataclass(frozen=True)
class BareSqlite:
    """A connection, used from this thread: whoever writes waits for whoever writes, and Python runs one thread."""

    connection: sqlite3.Connection
    clients: Sequence[int] = (1,)

    async def add(self, conversation_id: str) -> None:
        """Store a conversation."""
        self.connection.execute(_written_for_sqlite(INSERT_CONVERSATION), (conversation_id,))

    async def insert(self, items: Sequence[ItemRow]) -> None:
        """Store items in a transaction of its own."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(_written_for_sqlite(INSERT_ITEM), items)
        self.connection.execute("COMMIT")

    async def page(self, conversation_id: str) -> Sequence[str]:
        """The newest hundred items."""
        rows = self.connection.execute(_written_for_sqlite(SELECT_PAGE), (conversation_id,))
        return [row[0] for row in rows]


async def _interruptible(connection: sqlite3.Connection, work: Callable[[], None]) -> None:
    """Work with a connection in a thread; if whoever waits is cancelled, so is the statement that runs."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            connection.interrupt()
            await asyncio.wait((working,), timeout=0.1)
        raise
