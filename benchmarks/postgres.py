"""PostgreSQL to measure on: a server that is started for it, or one that is there already."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import asyncpg
from pydantic import SecretStr

from benchmarks.copies import TOKENS, copying, sample, tokens
from benchmarks.databases import INSERT_CONVERSATION, INSERT_ITEM, SELECT_PAGE, Bare, Database, ItemRow
from benchmarks.load import quantile
from benchmarks.postgres_programs import find_programs, unprivileged
from benchmarks.process_tree import ProcessTree
from benchmarks.processes import free_port, started, wait_until
from llama_conversations.config.postgres_backend import PostgresBackend
from llama_conversations.config.postgres_url import PostgresAddress
from llama_conversations.storage.open_postgresql import postgresql_settings, upgraded_postgresql

CLIENTS = 16
"""Of the driver alone, at the most; each has a connection."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}
"""All else is as it comes: ``fsync`` and ``synchronous_commit`` are on."""


AFTER_CHECKPOINT = 5
"""Operations that are looked at right behind a checkpoint."""

_LOGGED = "SELECT pg_current_wal_insert_lsn() - '0/0'"


@asynccontextmanager
async def own_server() -> AsyncIterator[PostgresServer]:
    """A server in a folder of its own, without a password."""
    who, programs, port = unprivileged(), find_programs(), free_port()
    address = PostgresAddress(server=f"127.0.0.1:{port}", db="postgres", user="owner")
    with TemporaryDirectory(prefix="bench-postgres-") as name:
        folder = Path(name)
        if who:
            os.chown(folder, int(str(who["user"])), int(str(who["group"])))
        made = [str(programs / "initdb"), "-D", f"{name}/data", "--no-sync", "-A", "trust", "-U", "owner", "-E", "UTF8"]
        subprocess.run(made, check=True, cwd=folder, stdout=subprocess.DEVNULL, **who)  # type: ignore[call-overload]  # noqa: S603, ASYNC221
        options = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
        command = [str(programs / "postgres"), "-D", f"{name}/data", "-p", str(port), *options]
        async with started(command, folder / "log", signal.SIGINT, cwd=folder, **who) as process:
            server = PostgresServer(address, ProcessTree(process.pid))
            await wait_until(server.answers, process, folder / "log")
            yield server


@dataclass(frozen=True)
class PostgresServer:
    """A server on which databases can be made; ``processes`` are its own, where they can be looked at."""

    address: PostgresAddress
    processes: ProcessTree | None = None
    name: str = "postgres"

    async def answers(self) -> bool:
        """Whether it lets one in."""
        try:
            await self._execute("SELECT 1")
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        return True

    @asynccontextmanager
    async def new(self) -> AsyncIterator[Database]:
        """An empty database with the tables."""
        name = f"bench_{secrets.token_hex(8)}"
        await self._execute(f"CREATE DATABASE {name}")
        try:
            made = PostgresDatabase(replace(self.address, db=name).dsn, self.processes)
            await upgraded_postgresql(postgresql_settings(made.settings))
            yield made
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, sql: str) -> None:
        async with _connected(self.address.dsn) as connection:
            await connection.execute(sql)


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of a server."""

    url: str
    processes: ProcessTree | None

    @property
    def settings(self) -> PostgresBackend:
        """With the defaults."""
        return PostgresBackend(type="sql_postgres", url=SecretStr(self.url))

    @property
    def backend(self) -> Mapping[str, object]:
        """As it stands in a run.yaml."""
        return {"type": "sql_postgres", "url": self.url}

    def cpu_seconds(self) -> float:
        """CPU time of the whole server, where it was started here."""
        return self.processes.cpu_seconds() if self.processes else 0.0

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Bare]:
        """asyncpg."""
        async with asyncpg.create_pool(self.url, min_size=CLIENTS, max_size=CLIENTS) as pool:
            yield BarePostgres(pool)

    async def fill(self, conversation_id: str, count: int) -> Sequence[str]:
        """Have copies of a conversation, and statistics of all."""
        made = tokens(conversation_id, count)
        async with _connected(self.url) as connection:
            await connection.execute(TOKENS)
            await connection.copy_records_to_table("tokens", records=made)
            for statement in copying(conversation_id):
                await connection.execute(statement)
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
        return sample(conversation_id, made)

    async def logged_by(self, operation: Callable[[], Awaitable[object]], times: int) -> Mapping[str, float]:
        """How far the log got; it takes a superuser or ``pg_checkpoint``, and nobody else on the server.

        Ids are random: one page or another of an index may still be logged whole long after a checkpoint. So
        ``bytes`` is of the tenth of the operations that logged least.
        """
        async with _connected(self.url) as connection:

            async def logged() -> float:
                before = await connection.fetchval(_LOGGED)
                await operation()
                return float(await connection.fetchval(_LOGGED) - before)

            after_checkpoint = []
            for _ in range(AFTER_CHECKPOINT):
                await connection.execute("CHECKPOINT")
                after_checkpoint.append(await logged())
            further = [await logged() for _ in range(times)]
        return {"bytes": quantile(further, 0.1), "bytes_after_checkpoint": median(after_checkpoint)}


@dataclass(frozen=True)
class BarePostgres:
    """A pool of connections."""

    pool: asyncpg.Pool
    clients: Sequence[int] = (1, CLIENTS)

    async def add(self, conversation_id: str) -> None:
        """Store a conversation."""
        await self.pool.execute(INSERT_CONVERSATION, conversation_id)

    async def insert(self, items: Sequence[ItemRow]) -> None:
        """Store items in a transaction of its own: asyncpg makes one for many rows."""
        await self.pool.executemany(INSERT_ITEM, items)

    async def page(self, conversation_id: str) -> Sequence[str]:
        """The newest hundred items."""
        return [row[0] for row in await self.pool.fetch(SELECT_PAGE, conversation_id)]


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
