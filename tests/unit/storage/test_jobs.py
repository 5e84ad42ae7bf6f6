"""Background responses in the database: one queue for all processes, and each job run by one of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llama_conversations.access import AccessScope
from llama_conversations.errors import (
    ConversationLocked,
    ConversationNotFound,
    NotInBackground,
    QueueFull,
    ResponseNotFound,
    TurnLost,
)
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import EventRecord, Job, ResponseRecord
from llama_conversations.storage.sql_jobs import EVENTS_AT_ONCE
from unit.storage.support import (
    ALICE,
    EVERY_DATABASE,
    LOCAL_DATABASE,
    STRANGERS,
    claim_of,
    commit_of,
    conversation,
    item,
    opened,
    response,
    rows,
    stored_response,
    texts,
)

pytestmark = EVERY_DATABASE

TESTS = Path(__file__).parents[2]
NO_LIMIT = 1000

TAKE_ALL = """
import asyncio, sys
from pathlib import Path
from unit.storage.support import opened

async def main():
    async with opened(Path(sys.argv[1])) as storage:
        print("ready", flush=True)
        sys.stdin.readline()
        while (job := await storage.jobs.take(lambda head: head)) is not None:
            print(job.response.id, flush=True)

asyncio.run(main())
"""

TAKE_ONE_AND_WAIT = """
import asyncio, sys
from pathlib import Path
from unit.storage.support import opened

async def main():
    async with opened(Path(sys.argv[1]), lease_seconds=3600) as storage:
        job = await storage.jobs.take(lambda head: head)
        print(job.response.id, flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


def begun(head: str) -> str:
    return head.replace("queued", "in_progress")


def cancelled(head: str) -> str:
    return f'{{"cancelled":{head}}}'


def failed(head: str) -> str:
    return f'{{"failed":{head}}}'


def job_of(record: ResponseRecord, scope: AccessScope = ALICE, *, streamed: bool = False) -> Job:
    return Job(scope, record, '{"model":"gpt"}', streamed)


def waiting(**fields: object) -> ResponseRecord:
    return response(status="queued", head='{"status":"queued"}', **fields)


async def enqueued(storage: Storage, *events: EventRecord, **fields: object) -> ResponseRecord:
    record = waiting(**fields)
    await storage.jobs.enqueue(job_of(record, streamed=bool(events)), events, NO_LIMIT)
    return record


async def created(storage: Storage, *ids: str) -> str:
    record = conversation()
    await storage.conversations.create(ALICE, record, [item(item_id) for item_id in ids])
    return record.id


async def is_locked(storage: Storage, conversation_id: str) -> bool:
    turn = response(conversation_id=conversation_id)
    try:
        await storage.responses.claim(ALICE, claim_of(turn))
    except ConversationLocked:
        return True
    await storage.responses.unclaim(ALICE, turn.id, conversation_id)
    return False


async def taken(storage: Storage) -> str:
    job = await storage.jobs.take(begun)
    assert job is not None
    return job.response.id


def events_of(first: int, *frames: str) -> Sequence[EventRecord]:
    return [EventRecord(first + n, frame) for n, frame in enumerate(frames)]


async def kept(storage: Storage, response_id: str, after: int = -1) -> list[int]:
    """The numbers of the events that are kept behind one."""
    _, events = await storage.jobs.events(ALICE, response_id, after)
    return [event.sequence_number for event in events]


async def test_a_job_comes_out_as_it_went_in_and_is_in_progress_from_then_on(storage: Storage) -> None:
    record = await enqueued(storage)
    assert await storage.responses.get(ALICE, record.id) == record
    job = await storage.jobs.take(begun)
    assert job == job_of(
        ResponseRecord(**{name: getattr(record, name) for name in record.__slots__} | {"status": "in_progress"})
    )
    found = await storage.responses.get(ALICE, record.id)
    assert (found.status, found.head) == ("in_progress", '{"status":"in_progress"}')
    assert await storage.jobs.take(begun) is None


async def test_who_has_waited_longest_is_next_whoever_it_belongs_to(storage: Storage) -> None:
    first = await enqueued(storage)
    second = waiting()
    await storage.jobs.enqueue(job_of(second, STRANGERS[1]), (), NO_LIMIT)
    third = await enqueued(storage)
    assert [await taken(storage) for _ in range(3)] == [first.id, second.id, third.id]


async def test_an_empty_queue_gives_nothing_and_other_responses_are_no_jobs(storage: Storage) -> None:
    await stored_response(storage)
    await storage.responses.claim(ALICE, claim_of(response()))
    assert await storage.jobs.take(begun) is None


async def test_of_so_many_that_may_wait_one_more_is_refused_and_stores_nothing(storage: Storage) -> None:
    conversation_id = await created(storage)
    for _ in range(2):
        await storage.jobs.enqueue(job_of(waiting()), (), 2)
    late = waiting(conversation_id=conversation_id)
    with pytest.raises(QueueFull) as found:
        await storage.jobs.enqueue(job_of(late), (), 2)
    assert found.value.limit == 2
    with pytest.raises(ResponseNotFound):
        await storage.responses.get(ALICE, late.id)
    assert not await is_locked(storage, conversation_id)
    await storage.jobs.take(begun)
    await storage.jobs.enqueue(job_of(late), (), 2)


async def test_a_job_holds_its_conversation_until_it_ends_and_no_lease_of_it_runs_out(
    storage: Storage, path: Path
) -> None:
    conversation_id = await created(storage, "msg_1", "msg_2")
    record = await enqueued(storage, conversation_id=conversation_id)
    assert rows(path, "SELECT lease_expires_at FROM conversations") == [(None,)]
    for _ in range(2):
        assert await is_locked(storage, conversation_id)
        with pytest.raises(ConversationLocked):
            await enqueued(storage, conversation_id=conversation_id)
        job = await storage.jobs.take(begun)
    assert job is None
    assert (await storage.responses.get(ALICE, record.id)).context_position == 2
    await storage.responses.commit(ALICE, commit_of(record, item("msg_3")))
    assert not await is_locked(storage, conversation_id)
    assert await texts(storage, conversation_id) == ["msg_1", "msg_2", "msg_3"]


@pytest.mark.parametrize("scope", STRANGERS)
async def test_a_job_in_somebody_elses_conversation_or_none_is_refused(storage: Storage, scope: AccessScope) -> None:
    conversation_id = await created(storage)
    for where in (conversation_id, conversation().id):
        with pytest.raises(ConversationNotFound):
            await storage.jobs.enqueue(job_of(waiting(conversation_id=where), scope), (), NO_LIMIT)
    assert not await is_locked(storage, conversation_id)


async def test_a_job_that_is_given_back_is_next_again_and_begins_anew(storage: Storage) -> None:
    conversation_id = await created(storage)
    record = await enqueued(storage, *events_of(0, "created", "queued"), conversation_id=conversation_id)
    later = await enqueued(storage)
    await storage.jobs.take(begun)
    await storage.jobs.add_events(record.id, events_of(2, "in_progress", "delta"))
    await storage.jobs.give_back(record.id, record.head)
    assert (await storage.responses.get(ALICE, record.id)).status == "queued"
    assert await kept(storage, record.id) == [0, 1]
    assert await is_locked(storage, conversation_id)
    assert [await taken(storage), await taken(storage)] == [record.id, later.id]
    await storage.jobs.add_events(record.id, events_of(2, "in_progress"))
    await storage.responses.commit(ALICE, commit_of(record))
    assert not await is_locked(storage, conversation_id)


async def test_numbers_of_events_that_were_shown_are_not_used_again(storage: Storage) -> None:
    record = await enqueued(storage, *events_of(0, "created", "queued"))

    async def run_and_give_back(*shown: str) -> Job:
        """The job as it waits for its next run."""
        job = await storage.jobs.take(begun)
        assert job is not None
        await storage.jobs.add_events(record.id, events_of(job.first_event, *shown))
        await storage.jobs.give_back(record.id, record.head)
        assert await kept(storage, record.id) == [0, 1]
        return (await storage.jobs.events(ALICE, record.id, 0))[0]

    assert (await run_and_give_back()).first_event == 2
    assert (await run_and_give_back("in_progress")).first_event == 2
    assert (await run_and_give_back("in_progress", "delta", "delta")).first_event == 5
    job = await run_and_give_back("in_progress")
    assert job.first_event == 5
    assert [number for number in range(8) if job.is_void(number)] == [2, 3, 4]
    assert (await run_and_give_back("in_progress", "delta")).first_event == 7


async def test_what_has_ended_or_is_no_job_is_not_given_back(storage: Storage) -> None:
    record = await enqueued(storage)
    await storage.jobs.take(begun)
    await storage.responses.commit(ALICE, commit_of(record))
    foreground = response()
    await storage.responses.claim(ALICE, claim_of(foreground))
    for response_id in (record.id, foreground.id, "resp_unknown"):
        await storage.jobs.give_back(response_id, record.head)
    assert (await storage.responses.get(ALICE, record.id)).status == "completed"
    assert (await storage.responses.get(ALICE, foreground.id)).status == "in_progress"
    assert await storage.jobs.take(begun) is None


async def test_one_that_waits_is_cancelled_at_once_and_frees_its_conversation(storage: Storage) -> None:
    conversation_id = await created(storage)
    record = await enqueued(storage, conversation_id=conversation_id)
    for _ in range(2):  # again: the same
        answer = await storage.jobs.request_cancel(ALICE, record.id, cancelled)
        assert (answer.status, answer.head) == ("cancelled", cancelled(record.head))
        assert await storage.responses.get(ALICE, record.id) == answer
    assert await storage.jobs.take(begun) is None
    assert not await is_locked(storage, conversation_id)


async def test_one_that_runs_is_asked_to_end_and_who_runs_it_is_told(storage: Storage) -> None:
    first, second = await enqueued(storage), await enqueued(storage)
    for _ in range(2):
        await storage.jobs.take(begun)
    both = [first.id, second.id]
    assert set(await storage.jobs.cancel_requests(both)) == set()
    assert (await storage.jobs.request_cancel(ALICE, first.id, cancelled)).status == "in_progress"
    assert set(await storage.jobs.cancel_requests(both)) == {first.id}
    await storage.responses.delete(ALICE, second.id)
    assert set(await storage.jobs.cancel_requests(both)) == set(both)
    await storage.responses.commit(ALICE, commit_of(first, status="cancelled"))
    assert (await storage.jobs.request_cancel(ALICE, first.id, cancelled)).status == "cancelled"


async def test_what_has_ended_and_what_is_no_job_cannot_be_cancelled(storage: Storage) -> None:
    ended = await enqueued(storage)
    await storage.jobs.take(begun)
    await storage.responses.commit(ALICE, commit_of(ended, status="incomplete"))
    with pytest.raises(NotInBackground, match="it is incomplete already"):
        await storage.jobs.request_cancel(ALICE, ended.id, cancelled)
    foreground = await stored_response(storage)
    with pytest.raises(NotInBackground, match="'background': true"):
        await storage.jobs.request_cancel(ALICE, foreground.id, cancelled)
    assert (await storage.responses.get(ALICE, ended.id)).status == "incomplete"


@pytest.mark.parametrize("scope", STRANGERS)
async def test_somebody_elses_job_is_unknown(storage: Storage, scope: AccessScope) -> None:
    record = await enqueued(storage)
    with pytest.raises(ResponseNotFound):
        await storage.jobs.request_cancel(scope, record.id, cancelled)
    with pytest.raises(ResponseNotFound):
        await storage.jobs.events(scope, record.id, -1)
    assert (await storage.responses.get(ALICE, record.id)).status == "queued"


async def test_a_deleted_job_is_not_run_and_frees_its_conversation_and_its_events(storage: Storage, path: Path) -> None:
    conversation_id = await created(storage)
    record = await enqueued(storage, *events_of(0, "a"), conversation_id=conversation_id)
    await storage.responses.delete(ALICE, record.id)
    assert await storage.jobs.take(begun) is None
    assert not await is_locked(storage, conversation_id)
    assert rows(path, "SELECT count(*) FROM response_events") == [(0,)]


async def test_a_job_deleted_while_it_runs_stores_nothing_and_frees_its_conversation(storage: Storage) -> None:
    conversation_id = await created(storage)
    record = await enqueued(storage, conversation_id=conversation_id)
    await storage.jobs.take(begun)
    await storage.responses.delete(ALICE, record.id)
    with pytest.raises(TurnLost):
        await storage.responses.commit(ALICE, commit_of(record, item("msg_1")))
    assert not await is_locked(storage, conversation_id)
    assert await texts(storage, conversation_id) == []


async def test_events_are_read_behind_a_number_and_many_in_several_goes(storage: Storage) -> None:
    record = await enqueued(storage, *events_of(0, "created", "queued"))
    await storage.jobs.take(begun)
    many = [f"frame {n}" for n in range(EVENTS_AT_ONCE)]
    await storage.jobs.add_events(record.id, events_of(2, *many))
    job, events = await storage.jobs.events(ALICE, record.id, 0)
    assert job.streamed
    assert events == [*events_of(1, "queued"), *events_of(2, *many[:-1])]
    assert await kept(storage, record.id, events[-1].sequence_number) == [EVENTS_AT_ONCE + 1]
    assert await kept(storage, record.id, 10_000) == []


async def test_the_last_events_are_stored_with_the_end_or_not_at_all(storage: Storage) -> None:
    record = await enqueued(storage, *events_of(0, "created", "queued"))
    await storage.jobs.take(begun)
    last = commit_of(record, events=events_of(2, "a", "b"))
    await storage.responses.commit(ALICE, last)
    assert await kept(storage, record.id) == [0, 1, 2, 3]
    with pytest.raises(TurnLost):
        await storage.responses.commit(ALICE, commit_of(record, events=events_of(4, "c")))
    assert await kept(storage, record.id) == [0, 1, 2, 3]


async def test_a_job_whose_lease_ran_out_fails_and_frees_its_conversation(path: Path) -> None:
    async with opened(path, lease_seconds=-1) as storage:
        conversation_id = await created(storage)
        record = await enqueued(storage, conversation_id=conversation_id)
        assert await storage.responses.sweep(failed) == ()  # one that waits has no lease
        await storage.jobs.take(begun)
        assert await storage.responses.sweep(failed) == [record.id]
        found = await storage.responses.get(ALICE, record.id)
        assert (found.status, found.head) == ("failed", failed('{"status":"in_progress"}'))
        with pytest.raises(TurnLost):
            await storage.responses.commit(ALICE, commit_of(record, item("msg_1")))
        await storage.jobs.give_back(record.id, record.head)
        assert (await storage.responses.get(ALICE, record.id)).status == "failed"
    async with opened(path) as storage:
        assert not await is_locked(storage, conversation_id)


async def test_the_lease_of_a_job_is_renewed_with_those_of_turns(path: Path) -> None:
    async with opened(path, lease_seconds=-1) as hasty, opened(path) as patient:
        record = await enqueued(patient)
        await patient.jobs.take(begun)
        await hasty.responses.renew_leases([record.id])  # not its own
        await patient.responses.renew_leases([record.id])
        assert await patient.responses.sweep(failed) == []
        await patient.responses.commit(ALICE, commit_of(record))


async def test_stacks_that_take_at_once_take_each_job_once(path: Path) -> None:
    async with AsyncExitStack() as stack:
        storages = [await stack.enter_async_context(opened(path)) for _ in range(3)]
        ids = [(await enqueued(storages[0])).id for _ in range(12)]
        found = await asyncio.gather(*(taken(storages[n % 3]) for n in range(12)))
        assert sorted(found) == sorted(ids)
        assert await storages[1].jobs.take(begun) is None


def test_processes_that_take_at_once_take_each_job_once(path: Path) -> None:
    async def fill() -> list[str]:
        async with opened(path) as storage:
            return [(await enqueued(storage)).id for _ in range(30)]

    ids = asyncio.run(fill())
    processes = [_python(TAKE_ALL, path) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    took = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], took
    assert sorted(line for out, _ in took for line in out.split()) == sorted(ids)


@LOCAL_DATABASE
async def test_a_job_of_a_process_that_was_killed_fails_at_the_next_sweep_whatever_its_lease(path: Path) -> None:
    async with opened(path) as storage:
        conversation_id = await created(storage)
        record = await enqueued(storage, conversation_id=conversation_id)
        process = _python(TAKE_ONE_AND_WAIT, path)
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == f"{record.id}\n"
        assert await storage.responses.sweep(failed) == []
        process.kill()
        await asyncio.to_thread(process.communicate)
        assert await storage.responses.sweep(failed) == [record.id]
        assert not await is_locked(storage, conversation_id)


def _python(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        env={"PYTHONPATH": ":".join([str(TESTS), *sys.path])},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
