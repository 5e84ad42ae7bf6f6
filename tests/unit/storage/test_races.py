"""What SQLite's one writer hides: units of work on PostgreSQL that meet in the middle of each other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select

from llama_conversations.errors import QueueFull, TurnLost
from llama_conversations.storage import sql_idempotency, sql_jobs, sql_leases, sql_responses
from llama_conversations.storage.dialects import postgresql
from llama_conversations.storage.dialects.postgresql import Connection, PostgresqlDatabase
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import EventRecord, Job, KeyBusy, KeyHold, ResourceRecord
from llama_conversations.storage.sql_conversations import SqlConversationStore
from llama_conversations.storage.sql_idempotency import SqlIdempotencyStore
from llama_conversations.storage.sql_jobs import SqlJobStore
from llama_conversations.storage.sql_responses import SqlResponseStore
from llama_conversations.storage.tables import conversations
from llama_conversations.storage.unit_of_work import Row, Run, Statement, Step, Unit
from unit.storage.support import (
    ALICE,
    LEASE_SECONDS,
    claim_of,
    commit_of,
    conversation,
    item,
    opened_database,
    prompt,
    response,
    rows,
    texts,
)

pytestmark = pytest.mark.databases("postgres")

AT_ONCE = 5


class PausedDatabase(PostgresqlDatabase):
    """A database that waits before a statement."""

    before: Statement | None = None

    def wait_before(self, statement: Statement) -> None:
        self.before, self.reached, self.go_on = statement, asyncio.Event(), asyncio.Event()

    async def _run(self, connection: Connection, step: Step) -> Sequence[Row]:
        if step.statement is self.before:
            self.reached.set()
            await self.go_on.wait()
        return await super()._run(connection, step)


@pytest.fixture
async def paused(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PausedDatabase]:
    with monkeypatch.context() as patched:
        patched.setattr(postgresql, "PostgresqlDatabase", PausedDatabase)
        async with opened_database(path) as database:
            assert isinstance(database, PausedDatabase)
            yield database


@asynccontextmanager
async def meeting(paused: PausedDatabase, work: object, before: Statement) -> AsyncIterator[asyncio.Task[object]]:
    """Work that stands before a statement while the block runs, and goes on behind it."""
    paused.wait_before(before)
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    await asyncio.wait([task, asyncio.ensure_future(paused.reached.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    try:
        yield task
    finally:
        paused.go_on.set()
        await asyncio.wait([task])


def failed(head: str) -> str:
    return head.replace("in_progress", "failed")


def job(**fields: object) -> Job:
    return Job(ALICE, response(status="queued", head='{"status":"queued"}', **fields), "{}", streamed=False)


async def queued(storage: Storage, **fields: object) -> Job:
    new = job(**fields)
    await storage.jobs.enqueue(new, [], limit=100)
    return new


async def created(storage: Storage) -> str:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    return record.id


async def test_a_turn_that_would_end_while_it_is_swept_is_lost(storage: Storage, paused: PausedDatabase) -> None:
    hasty, turn = SqlResponseStore(paused, -1), response(conversation_id=await created(storage))
    await hasty.claim(ALICE, claim_of(turn))
    async with meeting(paused, hasty.sweep(failed), sql_leases._FAIL) as sweep:
        commit = asyncio.ensure_future(hasty.commit(ALICE, commit_of(turn)))
    assert sweep.result() == [turn.id]
    with pytest.raises(TurnLost):
        await commit
    assert (await storage.responses.get(ALICE, turn.id)).status == "failed"


async def test_a_response_that_ends_while_it_is_swept_is_not_failed(storage: Storage, paused: PausedDatabase) -> None:
    hasty, turn = SqlResponseStore(paused, -1), response()
    await hasty.claim(ALICE, claim_of(turn))
    async with meeting(paused, hasty.sweep(failed), sql_leases._FAIL) as sweep:
        await hasty.commit(ALICE, commit_of(turn))
    assert sweep.result() == []
    assert (await storage.responses.get(ALICE, turn.id)).status == "completed"


async def test_sweeps_at_once_end_each_turn_once(storage: Storage, paused: PausedDatabase) -> None:
    hasty, turns = SqlResponseStore(paused, -1), [response() for _ in range(10)]
    for turn in turns:
        await hasty.claim(ALICE, claim_of(turn))
    swept = await asyncio.gather(*(hasty.sweep(failed) for _ in range(AT_ONCE)))
    assert sorted(name for each in swept for name in each) == sorted(turn.id for turn in turns)


async def test_a_job_that_is_taken_up_while_it_is_cancelled_is_asked_to_stop(
    storage: Storage, paused: PausedDatabase
) -> None:
    waiting = await queued(storage)
    cancelling = SqlJobStore(paused, LEASE_SECONDS).request_cancel(ALICE, waiting.response.id, lambda head: head)
    async with meeting(paused, cancelling, sql_jobs._CANCEL_WAITING) as cancel:
        assert await storage.jobs.take(lambda head: head) is not None
    assert cancel.result().status == "in_progress"
    assert await storage.jobs.cancel_requests([waiting.response.id]) == {waiting.response.id}


async def test_a_job_that_ends_while_it_is_deleted_is_gone_and_frees_its_conversation(
    storage: Storage, paused: PausedDatabase
) -> None:
    conversation_id = await created(storage)
    running = await queued(storage, conversation_id=conversation_id)
    await storage.jobs.take(lambda head: head)
    deleting = SqlResponseStore(paused, LEASE_SECONDS).delete(ALICE, running.response.id)
    async with meeting(paused, deleting, sql_responses._DELETE) as delete:
        commit = asyncio.ensure_future(storage.responses.commit(ALICE, commit_of(running.response)))
    assert delete.exception() is None
    with pytest.raises(TurnLost):
        await commit
    turn = response(conversation_id=conversation_id)
    await storage.responses.claim(ALICE, claim_of(turn))


async def test_of_jobs_that_come_at_once_no_more_wait_than_may(storage: Storage, paused: PausedDatabase) -> None:
    async with meeting(paused, SqlJobStore(paused, 30).enqueue(job(), [], limit=2), sql_jobs._INSERT) as first:
        others = [asyncio.ensure_future(storage.jobs.enqueue(job(), [], limit=2)) for _ in range(AT_ONCE)]
    await asyncio.wait(others)
    assert first.exception() is None
    told = [other.exception() for other in others]
    assert [type(error) for error in told if error is not None] == [QueueFull] * (AT_ONCE - 1)


async def test_of_requests_with_one_new_key_one_runs(storage: Storage, paused: PausedDatabase) -> None:
    holds = [KeyHold(ALICE, "k", f"holder{n}") for n in range(AT_ONCE)]
    claims = await asyncio.gather(*(storage.keys.claim(hold, "f") for hold in holds))
    assert [type(claim) for claim in claims].count(KeyHold) == 1
    assert [type(claim) for claim in claims].count(KeyBusy) == AT_ONCE - 1


async def test_of_requests_with_a_key_that_was_left_one_takes_it_over(storage: Storage, paused: PausedDatabase) -> None:
    hasty, (left, one, other) = SqlIdempotencyStore(paused, -1), (KeyHold(ALICE, "k", f"h{n}") for n in range(3))
    await hasty.claim(left, "f")
    patient = SqlIdempotencyStore(paused, LEASE_SECONDS)
    async with meeting(paused, patient.claim(one, "f"), sql_idempotency._TAKE_OVER) as first:
        second = asyncio.ensure_future(storage.keys.claim(other, "f"))
    assert first.result() == one
    assert await second == KeyBusy(paused.node)


async def test_a_key_that_is_released_while_it_is_claimed_is_claimed(storage: Storage, paused: PausedDatabase) -> None:
    old, new = KeyHold(ALICE, "k", "old"), KeyHold(ALICE, "k", "new")
    await storage.keys.claim(old, "f")
    async with meeting(paused, SqlIdempotencyStore(paused, 30).claim(new, "f"), sql_idempotency._SELECT) as claim:
        await storage.keys.release(old)
    assert claim.result() == new


async def test_lists_that_are_replaced_at_once_are_one_of_them_as_a_whole(storage: Storage) -> None:
    lists = [[ResourceRecord("model", f"m{n}", "p", str(of)) for n in range(3)] for of in range(AT_ONCE)]
    await asyncio.gather(*(storage.registry.replace("model", "p", each) for each in lists))
    assert await storage.registry.load("model") in lists


async def test_of_secrets_that_are_kept_at_once_everybody_gets_the_same(storage: Storage) -> None:
    await storage.secrets.keep("another", "x")
    kept = await asyncio.gather(*(storage.secrets.keep("name", f"secret{n}") for n in range(AT_ONCE)))
    assert len(set(kept)) == 1
    assert await storage.secrets.keep("another", "y") == "x"


async def test_of_versions_that_are_added_at_once_one_is_the_next(storage: Storage) -> None:
    first = prompt("pmpt_x")
    await storage.prompts.create(ALICE, first)
    added = await asyncio.gather(*(storage.prompts.add_version(ALICE, prompt("pmpt_x", 2)) for _ in range(AT_ONCE)))
    assert sorted(added) == [False] * (AT_ONCE - 1) + [True]


async def test_events_that_may_have_been_stored_can_be_stored_again(storage: Storage, path: Path) -> None:
    waiting = await queued(storage)
    for events in ([EventRecord(0, "a")], [EventRecord(0, "a"), EventRecord(1, "b")]):
        await storage.jobs.add_events(waiting.response.id, events)
    assert rows(path, "SELECT sequence_number, frame FROM response_events ORDER BY 1") == [(0, "a"), (1, "b")]


async def test_which_responses_are_cancelled_is_asked_of_those_that_there_were(
    storage: Storage, paused: PausedDatabase
) -> None:
    running = {(await queued(storage)).response.id}
    asking = SqlJobStore(paused, LEASE_SECONDS).cancel_requests(running)
    async with meeting(paused, asking, sql_jobs._SELECT_WANTED) as asked:
        running.add((await queued(storage)).response.id)
    assert asked.result() == set()


LOCK_ALL = Statement(select(conversations.c.id).with_for_update())
LOCK_ONE = Statement(select(conversations.c.id).where(conversations.c.id == bindparam("id")).with_for_update())
GO_ON = Statement(select(1))


def lock_all() -> Unit[None]:
    yield Run(LOCK_ALL, {})
    yield Run(GO_ON, {})


def lock(conversation_id: str) -> Unit[None]:
    yield Run(LOCK_ONE, {"id": conversation_id})
    yield Run(GO_ON, {})


async def test_a_conversation_that_another_transaction_holds_keeps_nobody_else_waiting(
    paused: PausedDatabase, storage: Storage
) -> None:
    append, held, free = storage.conversations.append, conversation(), conversation()
    await storage.conversations.create(ALICE, held, [])
    async with meeting(paused, paused.write(lock_all()), GO_ON):
        await storage.conversations.create(ALICE, free, [])
        waiting = [asyncio.ensure_future(append(ALICE, held.id, [item()])) for _ in range(3)]
        await asyncio.gather(*(append(ALICE, free.id, [item()]) for _ in range(5)))
        await append(ALICE, free.id, [item()])
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)
    assert len(await texts(storage, held.id)) == 3


async def test_a_turn_whose_conversation_another_transaction_holds_keeps_no_other_waiting(
    paused: PausedDatabase, storage: Storage
) -> None:
    claim, commit = storage.responses.claim, storage.responses.commit
    records = [conversation() for _ in range(6)]
    for record in records:
        await storage.conversations.create(ALICE, record, [])
    held, *free = turns = [response(conversation_id=record.id) for record in records]
    await claim(ALICE, claim_of(held))
    async with meeting(paused, paused.write(lock(held.conversation_id or "")), GO_ON):
        waiting = asyncio.ensure_future(commit(ALICE, commit_of(held, item())))
        await asyncio.gather(*(claim(ALICE, claim_of(turn)) for turn in free))
        await asyncio.gather(*(commit(ALICE, commit_of(turn, item())) for turn in free))
        assert not waiting.done()
    await waiting
    assert [len(await texts(storage, turn.conversation_id or "")) for turn in turns] == [1] * 6


WAITING_FOR_LOCKS = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
LEFT = "SELECT lease_expires_at - EXTRACT(EPOCH FROM clock_timestamp()) * 1000 FROM conversations"


async def test_a_lease_that_had_to_wait_for_a_lock_begins_when_it_is_had(paused: PausedDatabase, path: Path) -> None:
    patient, record = SqlResponseStore(paused, lease_seconds=2), conversation()
    await SqlConversationStore(paused).create(ALICE, record, [])
    async with meeting(paused, paused.write(lock(record.id)), GO_ON):
        claim = asyncio.ensure_future(patient.claim(ALICE, claim_of(response(conversation_id=record.id))))
        while await asyncio.to_thread(rows, path, WAITING_FOR_LOCKS) == [(0,)]:
            pass
        rows(path, "SELECT pg_sleep(1.5)")
    await claim
    [[left]] = rows(path, LEFT)
    assert float(str(left)) > 1000


async def test_who_asks_for_a_connection_first_gets_one_first(path: Path) -> None:
    async with opened_database(path, pool_size=2) as database:
        assert isinstance(database, PostgresqlDatabase)
        for connection in [await database._acquire(), await database._acquire()]:
            await database._give_back(connection)  # both are made
        numbers, given = itertools.count(), list[int]()

        async def ask_again_and_again() -> None:
            for pauses in range(20):
                number = next(numbers)
                connection = await database._acquire()
                given.append(number)
                for _ in range(pauses % 3):
                    await asyncio.sleep(0)
                await database._give_back(connection)

        await asyncio.gather(*(ask_again_and_again() for _ in range(20)))
        assert given == sorted(given)
