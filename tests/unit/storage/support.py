"""What the storage tests share: real databases, small records, and a database that counts what it is asked.

A database has a path: that of a SQLite file, or of a file ``….json`` with the settings of any other.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from harness.postgres import query
from llama_conversations.access import AccessScope
from llama_conversations.config.run_config import StorageConfig
from llama_conversations.ids import new_id
from llama_conversations.storage import open as opening
from llama_conversations.storage.database import Database
from llama_conversations.storage.news import News
from llama_conversations.storage.open import Storage, open_storage
from llama_conversations.storage.records import (
    ConversationRecord,
    ItemRecord,
    PageQuery,
    PromptRecord,
    ResponseRecord,
    TurnClaim,
    TurnCommit,
)
from llama_conversations.storage.unit_of_work import JointWork, Row, Run, RunMany, SqlValue, Statement, Step, Unit

A = TypeVar("A")
T = TypeVar("T")

ALICE = AccessScope("acme", "alice")
BOB = AccessScope("acme", "bob")
OTHER_TENANT = AccessScope("globex", "alice")
STRANGERS = (BOB, OTHER_TENANT)

EVERY_DATABASE = pytest.mark.databases("sqlite", "postgres")
LOCAL_DATABASE = pytest.mark.databases("sqlite")
"""Of tests about what there is for a database of one machine alone."""

LEASE_SECONDS = 30.0
ASCENDING = PageQuery(100, descending=False)

_clock = itertools.count(1_700_000_000_000_000)


def storage_config(path: Path, **settings: object) -> StorageConfig:
    if path.suffix == ".json":
        backend = json.loads(path.read_text())
    else:
        backend = {"type": "sql_sqlite", "path": str(path), "busy_timeout_seconds": 5}
    return StorageConfig.model_validate({"backends": {"default": {**backend, **settings}}})


def opened(
    path: Path, lease_seconds: float = LEASE_SECONDS, **settings: object
) -> AbstractAsyncContextManager[Storage]:
    return open_storage(storage_config(path, **settings), lease_seconds)


def doomed(path: Path) -> AbstractAsyncContextManager[Storage]:
    """Storage of a process that dies when it is left: whoever looks next sees that at once.

    A dead process is told by its lock file where there is one, and elsewhere by its leases, which have no length here.
    """
    return opened(path, -1 if path.suffix == ".json" else LEASE_SECONDS)


@asynccontextmanager
async def opened_database(path: Path, **settings: object) -> AsyncIterator[Database]:
    """The database itself, its schema made."""
    async with opening._open(storage_config(path, **settings).backends["default"]) as database:
        yield database


def conversation(**fields: object) -> ConversationRecord:
    """A new conversation; each is made a microsecond after the one before."""
    return replace(ConversationRecord(new_id("conv"), next(_clock), "{}"), **fields)


def item(item_id: str | None = None, text: str = "hello", **fields: object) -> ItemRecord:
    """A message; with an id it is one that the client chose."""
    found = item_id or new_id("msg")
    data = f'{{"id":"{found}","type":"message","text":"{text}"}}'
    return ItemRecord(found, "message", data, client_id=item_id is not None)._replace(**fields)


def response(**fields: object) -> ResponseRecord:
    record = ResponseRecord(
        id=new_id("resp"),
        created_at=next(_clock),
        status="in_progress",
        model="gpt",
        conversation_id=None,
        previous_response_id=None,
        context_position=None,
        input="[]",
        head='{"status":"in_progress"}',
        output="[]",
    )
    return replace(record, **fields)


def claim_of(record: ResponseRecord) -> TurnClaim:
    return TurnClaim(record.id, record.conversation_id, record)


def commit_of(record: ResponseRecord, *items: ItemRecord, **fields: object) -> TurnCommit:
    commit = TurnCommit(
        response_id=record.id,
        conversation_id=record.conversation_id,
        stored=True,
        items=items,
        status="completed",
        head='{"status":"completed"}',
        output="[]",
    )
    return replace(commit, **fields)


async def stored_response(storage: Storage, scope: AccessScope = ALICE, **fields: object) -> ResponseRecord:
    """A response whose turn has ended well."""
    record = response(**fields)
    await storage.responses.claim(scope, claim_of(record))
    await storage.responses.commit(scope, commit_of(record, output=record.output))
    return await storage.responses.get(scope, record.id)


def prompt(prompt_id: str, version: int = 1, *, is_default: bool = True) -> PromptRecord:
    return PromptRecord(prompt_id, version, f"v{version} {{{{name}}}}", ["name"], is_default, next(_clock))


async def texts(storage: Storage, conversation_id: str, scope: AccessScope = ALICE) -> list[str]:
    """The ids of a conversation's items, oldest first."""
    page = await storage.conversations.list_items(scope, conversation_id, ASCENDING)
    assert not page.has_more
    return [entry.id for entry in page.entries]


def rows(path: Path, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
    """What a connection of its own sees."""
    if path.suffix == ".json":
        settings = json.loads(path.read_text())
        assert not parameters
        return query(settings["port"], settings["db"], sql)
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()


def change(path: Path, sql: str) -> None:
    """Change something behind the stores' backs."""
    if path.suffix == ".json":
        rows(path, sql)
        return
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


@contextmanager
def write_lock_held(path: Path) -> Iterator[None]:
    """Another process's long transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@dataclass(frozen=True)
class Transaction:
    """One unit of work as it was run."""

    kind: str
    steps: list[Step]

    @property
    def statements(self) -> int:
        """How often the database was asked for something."""
        return sum(len(step.parameters) if isinstance(step, RunMany) else 1 for step in self.steps)


class CountingDatabase:
    """A database that remembers every transaction and its statements; implements ``storage.database.Database``."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.transactions: list[Transaction] = []

    @property
    def news(self) -> News:
        return self._inner.news

    @property
    def node(self) -> str:
        return self._inner.node

    def dead_nodes(self, nodes: Collection[str]) -> Collection[str]:
        return self._inner.dead_nodes(nodes)

    async def read(self, unit: Unit[T]) -> T:
        return await self._inner.read(self._counted("read", unit))

    async def write(self, unit: Unit[T], *, durable: bool = True) -> T:
        return await self._inner.write(self._counted("write" if durable else "hasty write", unit), durable=durable)

    async def write_jointly(self, work: JointWork[A, T], request: A, *, durable: bool = True) -> T:
        return await self.write(work.alone(request), durable=durable)

    def _counted(self, kind: str, unit: Unit[T]) -> Unit[T]:
        transaction = Transaction(kind, [])
        self.transactions.append(transaction)
        try:
            step = next(unit)
            while True:
                transaction.steps.append(step)
                step = unit.send((yield step))
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            unit.close()


def run(statement: Statement, **parameters: SqlValue) -> Unit[Sequence[Row]]:
    """A unit of one statement."""
    return (yield Run(statement, parameters))
