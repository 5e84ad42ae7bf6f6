"""Databases to measure on: empty ones, made for it and removed afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

from llama_conversations.config.postgres_url import PostgresAddress

ItemRow: TypeAlias = tuple[str, int, str, str, str, None, int]
"""Of ``conversation_items``, in the order of ``INSERT_ITEM``."""

OURS = ("sqlite", "postgres")
"""Databases of the benchmarks' own: files, and a server that is started for it."""

Asked: TypeAlias = str | PostgresAddress
"""One of these, or where a server is."""

INSERT_CONVERSATION = (
    "INSERT INTO conversations (id, tenant, owner, created_at, metadata, next_position)"
    " VALUES ($1, 'default', 'default', 1, '{}', 0)"
)
INSERT_ITEM = (
    "INSERT INTO conversation_items (conversation_id, position, id, type, data, masked, created_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7)"
)
SELECT_PAGE = "SELECT data FROM conversation_items WHERE conversation_id = $1 ORDER BY position DESC LIMIT 100"
"""What a limit is made of, on the tables of the server; ``$1`` stands for the first value."""


class Bare(Protocol):
    """A database without a server before it: the driver in this process."""

    @property
    def clients(self) -> Sequence[int]:
        """How many do something at once, in one measurement and the next."""
        ...

    async def add(self, conversation_id: str) -> None:
        """Store a conversation."""
        ...

    async def insert(self, items: Sequence[ItemRow]) -> None:
        """Store items in a transaction of its own."""
        ...

    async def page(self, conversation_id: str) -> Sequence[str]:
        """The newest hundred items, as they are stored."""
        ...


class Database(Protocol):
    """A database that is empty but for the tables."""

    @property
    def backend(self) -> Mapping[str, object]:
        """As it stands under ``storage.backends`` in a run.yaml."""
        ...

    def cpu_seconds(self) -> float:
        """CPU time so far of processes of its own, where there are any that can be looked at."""
        ...

    def bare(self) -> AbstractAsyncContextManager[Bare]:
        """The driver alone."""
        ...

    async def fill(self, conversation_id: str, count: int) -> Sequence[str]:
        """Have so many copies of a conversation, with its items and responses, while no server runs on it.

        Returns:
            Ids of copies, of any: ten thousand at the most.
        """
        ...

    async def logged_by(self, operation: Callable[[], Awaitable[object]], times: int) -> Mapping[str, float]:
        """What an operation adds to the write-ahead log, in bytes, by doing it so many times.

        ``bytes`` is what it takes to tell what was changed, ``bytes_after_checkpoint`` what it takes right behind a
        checkpoint: PostgreSQL then logs each page whole that is changed for the first time.
        """
        ...


class Databases(Protocol):
    """A kind of database."""

    @property
    def name(self) -> str:
        """``sqlite`` or ``postgres``."""
        ...

    def new(self) -> AbstractAsyncContextManager[Database]:
        """Another one; it is removed at the end."""
        ...


@asynccontextmanager
async def databases_of(asked: Asked, directory: Path) -> AsyncIterator[Databases]:
    """Databases of a kind."""
    if asked == "sqlite":
        from benchmarks.sqlite import SqliteFiles  # it needs what is stated above

        yield SqliteFiles(directory)
        return
    from benchmarks.postgres import PostgresServer, own_server  # its driver is an optional package

    if isinstance(asked, PostgresAddress):
        yield PostgresServer(asked)
    else:
        async with own_server() as server:
            yield server
