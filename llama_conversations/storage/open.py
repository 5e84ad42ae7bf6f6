"""Open storage: from the settings to stores that serve."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from filelock import AsyncFileLock

from llama_conversations.config.run_config import Backend, SqliteBackend, StorageConfig
from llama_conversations.errors import StorageUnavailable
from llama_conversations.storage.database import Database
from llama_conversations.storage.dialects.sqlite import DIALECT, OLDEST_SQLITE, SqliteDatabase, SqliteSettings, connect
from llama_conversations.storage.migrations import HEAD_REVISION
from llama_conversations.storage.migrations.whole_schema import whole_schema
from llama_conversations.storage.news import News
from llama_conversations.storage.nodes import NodeLocks
from llama_conversations.storage.sql_conversations import SqlConversationStore
from llama_conversations.storage.sql_idempotency import SqlIdempotencyStore
from llama_conversations.storage.sql_jobs import SqlJobStore
from llama_conversations.storage.sql_prompts import SqlPromptStore
from llama_conversations.storage.sql_registry import SqlHealthStore, SqlRegistryStore, SqlSecretStore
from llama_conversations.storage.sql_responses import SqlResponseStore
from llama_conversations.storage.sql_retention import SqlRetentionStore
from llama_conversations.storage.stores import (
    ConversationStore,
    HealthStore,
    IdempotencyStore,
    JobStore,
    PromptStore,
    RegistryStore,
    ResponseStore,
    RetentionStore,
    SecretStore,
)


@dataclass(frozen=True)
class Storage:
    """The stores of a stack; ``location`` says where the state lies, for people.

    A key is marked in the transaction of its request's effect, so each database has keys of its own: ``prompt_keys``
    are those of requests about prompts, the same as ``keys`` where prompts lie in the database of everything else.
    """

    conversations: ConversationStore
    responses: ResponseStore
    jobs: JobStore
    prompts: PromptStore
    keys: IdempotencyStore
    prompt_keys: IdempotencyStore
    registry: RegistryStore
    secrets: SecretStore
    health: HealthStore
    retention: RetentionStore
    news: News
    location: str


@asynccontextmanager
async def open_storage(config: StorageConfig, lease_seconds: float) -> AsyncIterator[Storage]:
    """Open every backend that a store uses, its schema upgraded; close them at the end, losing nothing acknowledged.

    Errors: ``StorageUnavailable`` when a database cannot be opened, ``DatabaseTooNew``.
    """
    stores = config.stores
    async with AsyncExitStack() as opened:
        databases = {
            name: await opened.enter_async_context(_open(config.backends[name]))
            for name in {stores.state.backend, stores.prompts.backend, stores.registry.backend}
        }
        state, prompts = databases[stores.state.backend], databases[stores.prompts.backend]
        keys = SqlIdempotencyStore(state, lease_seconds)
        yield Storage(
            conversations=SqlConversationStore(state),
            responses=SqlResponseStore(state, lease_seconds),
            jobs=SqlJobStore(state, lease_seconds),
            prompts=SqlPromptStore(prompts),
            keys=keys,
            prompt_keys=keys if prompts is state else SqlIdempotencyStore(prompts, lease_seconds),
            registry=SqlRegistryStore(databases[stores.registry.backend]),
            secrets=SqlSecretStore(state),
            health=SqlHealthStore(state),
            retention=SqlRetentionStore(state),
            news=state.news,
            location=config.backends[stores.state.backend].location,
        )


def _open(backend: Backend) -> AbstractAsyncContextManager[Database]:
    if isinstance(backend, SqliteBackend):
        return _open_sqlite(backend)
    # Its driver is an optional package.
    from llama_conversations.storage.open_postgresql import open_postgresql

    return open_postgresql(backend)


@asynccontextmanager
async def _open_sqlite(backend: SqliteBackend) -> AsyncIterator[SqliteDatabase]:
    settings = sqlite_settings(backend)
    await upgraded_sqlite(settings)
    try:
        database = _connected(settings, NodeLocks(_beside(settings.path, ".nodes")))
    except (sqlite3.Error, OSError) as error:
        raise StorageUnavailable(f"The database {settings.path} cannot be opened: {error}") from error
    try:
        yield database
    finally:
        await database.close()


def sqlite_settings(backend: SqliteBackend) -> SqliteSettings:
    """How a file of run.yaml is opened."""
    return SqliteSettings(backend.path, backend.synchronous, backend.busy_timeout_seconds, backend.readers)


async def upgraded_sqlite(settings: SqliteSettings) -> str | None:
    """Bring a file's schema to the newest revision; the one that it had. The file is made if it is not there.

    Errors: ``StorageUnavailable``, ``DatabaseTooNew``.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StorageUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: {oldest} or newer is needed.")
    try:
        settings.path.parent.mkdir(parents=True, exist_ok=True)
        # Several processes, and several stacks of one process, may come here at once.
        async with AsyncFileLock(_beside(settings.path, ".upgrade.lock")):
            return await _upgrade_sqlite(settings)
    except (sqlite3.Error, OSError) as error:
        raise StorageUnavailable(f"The database {settings.path} cannot be opened: {error}") from error


def _connected(settings: SqliteSettings, locks: NodeLocks) -> SqliteDatabase:
    try:
        return SqliteDatabase(settings, locks)
    except BaseException:
        locks.release()
        raise


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


async def _upgrade_sqlite(settings: SqliteSettings) -> str | None:
    with closing(connect(settings)) as first:
        found = sqlite_revision(first)
        if found is None:
            _make_schema(first, settings.path)
    if found not in (None, HEAD_REVISION):
        await _apply_revisions(settings)
    return found


def _make_schema(connection: sqlite3.Connection, path: Path) -> None:
    """In one transaction, which ends with the connection if it fails."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statement in whole_schema(DIALECT):
            connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StorageUnavailable(f"The database {path} cannot be upgraded: {error}") from error


async def _apply_revisions(settings: SqliteSettings) -> None:
    # Alembic is slow to import and seldom needed: only when there is something to upgrade.
    from sqlalchemy import URL
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    from llama_conversations.storage.migrations.upgrade import upgrade

    url = URL.create("sqlite+aiosqlite", database=str(settings.path))
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", connect_args={"timeout": settings.busy_timeout})
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            await connection.run_sync(upgrade, str(settings.path))
            await connection.exec_driver_sql("COMMIT")
    except DBAPIError as error:
        raise StorageUnavailable(f"The database {settings.path} cannot be upgraded: {error.orig}") from error
    finally:
        await engine.dispose()


def sqlite_revision(connection: sqlite3.Connection) -> str | None:
    """The revision of a file's schema; ``None`` where there is none."""
    known = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return None if row is None else str(row[0])
