"""What many ask for at once is done by a few statements, and each of them is told what became of his."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from llama_conversations.errors import ConversationNotFound, OutcomeUnknown, ShuttingDown, StorageUnavailable
from llama_conversations.storage.dialects.postgresql_joint import MOST_SHARES, JointWrites
from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.open import Storage
from llama_conversations.storage.sql_conversations import SqlConversationStore
from llama_conversations.storage.unit_of_work import JointWork, Served, Unit
from unit.storage.support import ALICE, BOB, EVERY_DATABASE, conversation, item, opened_database, rows, texts
from unit.storage.test_group_commit import statements_of_writer, submitted, writer_held

T = TypeVar("T")


def places(path: Path, conversation_id: str) -> list[tuple[object, ...]]:
    found = rows(path, f"SELECT position FROM conversation_items WHERE conversation_id = '{conversation_id}'")
    return sorted(found)  # type: ignore[type-var]


@EVERY_DATABASE
async def test_batches_that_come_at_once_are_each_whole_and_in_order(storage: Storage, path: Path) -> None:
    records = [conversation() for _ in range(3)]
    for record in records:
        await storage.conversations.create(ALICE, record, [item()])
    batches = [(records[n % 3].id, [item() for _ in range(n % 5)]) for n in range(200)]
    await asyncio.gather(*(storage.conversations.append(ALICE, *batch) for batch in batches))
    for record in records:
        mine = [[entry.id for entry in batch] for conversation_id, batch in batches if conversation_id == record.id]
        page = await storage.conversations.history(ALICE, record.id, 10_000)
        stored = [entry.id for entry in page][1:]
        starts = {stored.index(batch[0]): batch for batch in mine if batch}
        assert [entry for start in sorted(starts) for entry in starts[start]] == stored
        assert places(path, record.id) == [(n,) for n in range(len(stored) + 1)]
        await storage.conversations.append(ALICE, record.id, [item("last")])
        assert places(path, record.id)[-1] == (len(stored) + 1,)


async def test_a_group_of_appends_costs_as_many_statements_as_one(database: SqliteDatabase) -> None:
    store, records = SqlConversationStore(database), [conversation() for _ in range(10)]
    for record in records:
        await store.create(ALICE, record, [])
    with statements_of_writer(database) as statements:
        async with writer_held(database):
            batches = [(record.id, [item() for _ in range(6)]) for record in records]
            appends = [asyncio.ensure_future(store.append(ALICE, *batch)) for batch in batches]
            await submitted(*appends)
            statements.clear()
        await asyncio.gather(*appends)
    kinds = [statement.split()[0] for statement in statements if not statement.startswith("--")]
    assert kinds[-6:] == ["SAVEPOINT", "SELECT", "UPDATE", "INSERT", "RELEASE", "COMMIT"]


@EVERY_DATABASE
async def test_who_names_a_conversation_that_is_not_his_is_told_and_the_others_are_served(storage: Storage) -> None:
    mine, theirs = conversation(), conversation()
    await storage.conversations.create(ALICE, mine, [])
    await storage.conversations.create(BOB, theirs, [])
    append = storage.conversations.append
    asked = [(ALICE, mine), (ALICE, theirs), (BOB, mine), (BOB, theirs), (ALICE, conversation()), (ALICE, mine)]
    items = [item() for _ in asked]
    results = await asyncio.gather(
        *(append(scope, record.id, [entry]) for (scope, record), entry in zip(asked, items, strict=True)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        type(None),
        ConversationNotFound,
        ConversationNotFound,
        type(None),
        ConversationNotFound,
        type(None),
    ]
    assert sorted(await texts(storage, mine.id)) == sorted([items[0].id, items[5].id])
    assert await texts(storage, theirs.id, BOB) == [items[3].id]


@EVERY_DATABASE
async def test_what_was_asked_for_before_a_database_is_closed_is_done(path: Path) -> None:
    record = conversation()
    async with opened_database(path) as database:
        store = SqlConversationStore(database)
        await store.create(ALICE, record, [])
        appends = [asyncio.ensure_future(store.append(ALICE, record.id, [item()])) for _ in range(3 * MOST_SHARES)]
        await submitted(*appends)
    assert await asyncio.gather(*appends) == [None] * len(appends)
    assert len(places(path, record.id)) == len(appends)
    with pytest.raises(ShuttingDown):
        await store.append(ALICE, record.id, [item()])


async def test_where_a_group_cannot_be_served_each_is_by_itself(database: SqliteDatabase, path: Path) -> None:
    store, record = SqlConversationStore(database), conversation()
    await store.create(ALICE, record, [])
    entries = [item(), item(), item()]
    entries[1] = entries[0]  # a random id that came twice: nothing but the database sees it
    async with writer_held(database):
        appends = [asyncio.ensure_future(store.append(ALICE, record.id, [entry])) for entry in entries]
        await submitted(*appends)
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), sqlite3.IntegrityError, type(None)]
    assert places(path, record.id) == [(0,), (1,)]


class Recorder:
    """Writes nothing, and does with what it is given what a test wants."""

    def __init__(self, *errors: Exception | None) -> None:
        self.units: list[str] = []
        self._errors = list(errors)
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self, unit: Unit[T]) -> T:
        await self.may_go_on.wait()
        error = self._errors.pop(0) if self._errors else None
        try:
            next(unit)
        except StopIteration as done:
            result: T = done.value
            self.units.append(str(result))
            if error is not None:
                raise error from None
            return result
        raise AssertionError("it asks for nothing")


def together(requests: Sequence[int]) -> Unit[Sequence[Served[str] | None]]:
    return [Served(f"served {request}") if request % 7 else None for request in requests]
    yield


def alone(request: int) -> Unit[str]:
    if request % 14 == 0:
        raise ConversationNotFound(str(request))
    return f"alone {request}"
    yield


WORK: JointWork[int, str] = JointWork(together, alone)


async def told(joint: JointWrites[int, str], *requests: int) -> Sequence[str | BaseException]:
    return await asyncio.gather(*(joint.ask(request) for request in requests), return_exceptions=True)


async def test_who_was_not_served_together_is_served_alone() -> None:
    write = Recorder()
    results = await told(JointWrites(WORK, write), 1, 7, 14, 3)
    assert results[:2] == ["served 1", "alone 7"]
    assert isinstance(results[2], ConversationNotFound)
    assert results[3] == "served 3"
    assert len(write.units) == 2  # all together, and 7; 14 was undone


async def test_if_nobody_knows_whether_it_was_done_all_are_told_so_and_it_is_not_done_again() -> None:
    write = Recorder(OutcomeUnknown("It broke"))
    results = await told(JointWrites(WORK, write), 1, 2, 3)
    assert [type(result) for result in results] == [OutcomeUnknown] * 3
    assert len(write.units) == 1


async def test_if_it_failed_each_is_tried_by_itself_and_told_for_himself() -> None:
    write = Recorder(StorageUnavailable("away"), None, StorageUnavailable("away"))
    results = await told(JointWrites(WORK, write), 1, 2, 3)
    assert [type(result) for result in results] == [str, StorageUnavailable, str]


async def test_what_comes_while_others_are_served_is_served_together_afterwards() -> None:
    write = Recorder()
    write.may_go_on.clear()
    joint = JointWrites(WORK, write)
    first = [asyncio.ensure_future(joint.ask(request)) for request in (1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(joint.ask(n)) for n in [3] * (2 * MOST_SHARES + 1)]
    await asyncio.sleep(0)
    others[0].cancel()
    write.may_go_on.set()
    await asyncio.wait([*first, *others])
    assert [task.cancelled() for task in others[:2]] == [True, False]
    assert sum(unit.count("served") for unit in write.units) >= 2 * MOST_SHARES
    assert len(write.units) <= 5
