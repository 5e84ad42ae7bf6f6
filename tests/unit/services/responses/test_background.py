"""Background responses: run by whoever takes them up, followed and cancelled from anywhere, resumed after a stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import orjson
import pytest

from harness.event_stream import JsonObject, read_frames
from llama_conversations.access import DEFAULT_SCOPE
from llama_conversations.errors import (
    ConversationLocked,
    InvalidParameter,
    NotInBackground,
    OutcomeUnknown,
    QueueFull,
    ResponseNotFound,
    ShuttingDown,
    StorageUnavailable,
    UpstreamDisconnected,
)
from llama_conversations.services.responses.journal import EventJournal
from llama_conversations.services.responses.service import TurnSettings
from llama_conversations.storage.news import JOBS, LocalNews
from llama_conversations.storage.records import TERMINAL, EventRecord, Job
from llama_conversations.wire.events import EventWriter, OutputTextDelta, ResponseEvent
from unit.services.responses.support import ANSWER, PROVIDER, Desk, echo, open_desk, request, types

QUEUE_ONLY = TurnSettings(max_background=0, drain_seconds=0.05)
"""Of a process that takes up no jobs."""

HASTY = TurnSettings(drain_seconds=0.05)


@pytest.fixture
def answering(desk: Desk) -> Desk:
    desk.model.answer = orjson.dumps({"choices": [{"message": {"content": "Hello you"}, "finish_reason": "stop"}]})
    return desk


async def ended(desk: Desk, response_id: str) -> JsonObject:
    """A response, once it has ended."""
    async with asyncio.timeout(20):
        while (body := await desk.retrieved(response_id))["status"] not in TERMINAL:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return body


async def stream(desk: Desk, response_id: str, after: int | None = None) -> list[JsonObject]:
    """The rest of a response's events."""
    answer = await desk.service.get_response(response_id, stream=True, starting_after=after)
    async with asyncio.timeout(20):
        return read_frames(b"".join([frame async for frame in answer.frames]))  # type: ignore[union-attr]


async def test_a_job_is_queued_run_and_stored_like_any_turn(answering: Desk) -> None:
    conversation_id = await answering.conversation()
    queued = await answering.create(background=True, conversation=conversation_id, metadata={"a": "b"})
    assert (queued["status"], queued["background"], queued["output"]) == ("queued", True, [])
    done = await ended(answering, queued["id"])
    assert (done["status"], done["metadata"], done["created_at"]) == ("completed", {"a": "b"}, queued["created_at"])
    held = await answering.held(conversation_id)
    assert [item["role"] for item in held] == ["user", "assistant"]
    assert held[1]["id"] == done["output"][0]["id"]
    assert await answering.unlocked(conversation_id)


async def test_a_job_holds_its_conversation_from_the_moment_it_is_queued(tmp_path: Path) -> None:
    async with open_desk(tmp_path, *ANSWER, settings=QUEUE_ONLY) as desk:
        conversation_id = await desk.conversation()
        queued = await desk.create(background=True, conversation=conversation_id)
        for background in (True, False):
            with pytest.raises(ConversationLocked):
                await desk.create(background=background, conversation=conversation_id)
        cancelled = orjson.loads((await desk.service.cancel_response(queued["id"])).body)
        assert cancelled == queued | {"status": "cancelled"}
        assert await desk.unlocked(conversation_id)


async def test_a_streamed_job_is_replayed_from_any_event_on(desk: Desk) -> None:
    events = read_frames(b"".join([frame async for frame in await desk.frames(background=True)]))
    assert types(events)[:3] == ["created", "queued", "in_progress"]
    assert types(events)[-1] == "completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    response = events[-1]["response"]
    assert response == await desk.retrieved(response["id"])
    for after in (None, -1, 0, 1, 4, len(events) - 2, len(events) - 1, len(events) + 7):
        assert await stream(desk, response["id"], after) == events[(after or 0) + 1 if after is not None else 0 :]


async def test_a_follower_may_come_while_the_job_runs(desk: Desk) -> None:
    gate = asyncio.Event()
    desk.model.script = [ANSWER[0], gate.wait, *ANSWER[1:]]
    frames = await desk.frames(background=True)
    first = read_frames(await anext(frames))
    response_id = first[0]["response"]["id"]
    await frames.aclose()  # who hangs up loses nothing
    following = asyncio.ensure_future(stream(desk, response_id, 1))
    await desk.model.asked.wait()
    gate.set()
    events = await following
    assert types(events)[0] == "in_progress"
    assert events[-1]["response"]["status"] == "completed"


async def test_only_what_was_created_to_be_streamed_can_be_streamed(answering: Desk) -> None:
    for background in (True, False):
        created = await answering.create(background=background)
        await ended(answering, created["id"])
        with pytest.raises(InvalidParameter) as found:
            await stream(answering, created["id"])
        assert found.value.param == "stream"
    with pytest.raises(InvalidParameter) as found:
        await answering.service.get_response(created["id"], starting_after=3)
    assert found.value.param == "starting_after"
    with pytest.raises(ResponseNotFound):
        await stream(answering, "resp_unknown")


async def test_padding_is_in_kept_events_where_it_was_asked_for(desk: Desk) -> None:
    for wanted in (True, False):
        options = {"stream_options": {"include_obfuscation": wanted}}
        events = read_frames(b"".join([frame async for frame in await desk.frames(background=True, **options)]))
        deltas = [event for event in events if event["type"].endswith(".delta")]
        assert deltas
        assert all(("obfuscation" in event) == wanted for event in deltas)
        assert await stream(desk, events[0]["response"]["id"]) == events


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_job_that_runs_is_cancelled_appends_nothing_and_drops_the_model(desk: Desk, streamed: bool) -> None:
    conversation_id, never = await desk.conversation(), asyncio.Event()
    desk.model.script, desk.model.answer = [ANSWER[0], never.wait], never.wait
    frames = await desk.service.create_response(request(background=True, stream=streamed, conversation=conversation_id))
    await desk.model.asked.wait()
    [running] = await desk.responses()
    body = orjson.loads((await desk.service.cancel_response(running["id"])).body)
    assert (body["status"], body["output"], body["error"]) == ("cancelled", [], None)
    again = orjson.loads((await desk.service.cancel_response(running["id"])).body)
    assert again == body
    assert await desk.held(conversation_id) == []
    assert await desk.unlocked(conversation_id)
    if streamed:
        assert desk.model.dropped.is_set()
        events = read_frames(b"".join([frame async for frame in frames.frames]))  # type: ignore[union-attr]
        assert (events[-1]["type"], events[-1]["response"]) == ("response.failed", body)


async def test_a_job_is_cancelled_from_another_process(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as runs, open_desk(tmp_path, settings=QUEUE_ONLY) as asks:
        runs.model.answer = asyncio.Event().wait
        created = await asks.create(background=True)
        await asyncio.wait_for(runs.model.asked.wait(), 20)
        body = orjson.loads((await asks.service.cancel_response(created["id"])).body)
        assert body["status"] == "cancelled"


async def test_a_job_that_another_process_queued_is_run_and_followed_there(tmp_path: Path) -> None:
    async with open_desk(tmp_path, *ANSWER) as runs, open_desk(tmp_path, settings=QUEUE_ONLY) as asks:
        events = read_frames(b"".join([frame async for frame in await asks.frames(background=True)]))
        assert types(events)[-1] == "completed"
        assert runs.model.bodies
        assert not asks.model.bodies


async def test_what_is_no_job_cannot_be_cancelled(answering: Desk) -> None:
    created = await answering.create()
    with pytest.raises(NotInBackground):
        await answering.service.cancel_response(created["id"])


async def test_a_job_whose_model_fails_is_failed_with_its_reason(desk: Desk) -> None:
    desk.model.script = [ANSWER[0], UpstreamDisconnected(PROVIDER, "It hung up.")]
    events = read_frames(b"".join([frame async for frame in await desk.frames(background=True)]))
    assert types(events)[-2:] == ["error", "failed"]
    assert events[-1]["response"]["error"] == {"code": "server_error", "message": "It hung up."}


async def test_a_job_whose_model_is_gone_when_it_is_taken_up_is_failed_with_its_reason(tmp_path: Path) -> None:
    async with open_desk(tmp_path, settings=QUEUE_ONLY) as desk:
        conversation_id = await desk.conversation()
        created = await desk.create(background=True, model="gone", conversation=conversation_id)
        desk.models.unknown = {"gone"}
        desk.service._background._max_running = 1
        desk.storage.news.announce(JOBS)
        body = await ended(desk, created["id"])
        assert body["error"]["code"] == "invalid_prompt"
        assert "gone" in body["error"]["message"]
        assert await desk.unlocked(conversation_id)


async def test_what_cannot_be_sent_to_the_model_is_refused_before_anything_is_queued(desk: Desk) -> None:
    unpaired = [{"type": "function_call_output", "call_id": "a", "output": "x"}]
    for fields in ({"input": unpaired}, {"input": "Hi", "conversation": await desk.conversation(unpaired[0])}):
        with pytest.raises(InvalidParameter):
            await desk.create(background=True, **fields)
    assert await desk.responses() == []


async def test_of_so_many_that_may_wait_one_more_is_refused(tmp_path: Path) -> None:
    async with open_desk(tmp_path, settings=TurnSettings(max_background=0, max_queued=1)) as desk:
        await desk.create(background=True)
        with pytest.raises(QueueFull):
            await desk.create(background=True)


async def test_no_more_jobs_run_at_a_time_than_may(tmp_path: Path) -> None:
    async with open_desk(tmp_path, settings=TurnSettings(max_background=1)) as desk:
        gate = asyncio.Event()
        desk.model.answer = gate.wait
        created = [await desk.create(background=True) for _ in range(3)]
        await desk.model.asked.wait()
        assert sorted(r["status"] for r in await desk.responses()) == ["in_progress", "queued", "queued"]
        gate.set()
        for response in created:
            await ended(desk, response["id"])


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_job_that_runs_at_shutdown_is_queued_again_and_run_after_the_next_start(
    tmp_path: Path, streamed: bool
) -> None:
    async with open_desk(tmp_path, settings=HASTY) as desk:
        conversation_id, never = await desk.conversation(), asyncio.Event()
        desk.model.script, desk.model.answer = [ANSWER[0], never.wait], never.wait
        await desk.service.create_response(request(background=True, stream=streamed, conversation=conversation_id))
        await desk.model.asked.wait()
        await desk.service.shutdown()
        [stopped] = await desk.responses()
        assert (stopped["status"], stopped["output"]) == ("queued", [])
        assert not await desk.unlocked(conversation_id)
    async with open_desk(tmp_path, *ANSWER) as desk:
        desk.model.answer = orjson.dumps({"choices": [{"message": {"content": "Hello you"}, "finish_reason": "stop"}]})
        body = await ended(desk, stopped["id"])
        assert body["status"] == "completed"
        assert len(await desk.held(conversation_id)) == 2
        if streamed:
            events = await stream(desk, stopped["id"])
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert types(events).count("in_progress") == 1
            assert types(events).count("output_text.delta") == 2


async def test_a_job_taken_up_while_the_service_stops_is_not_lost(tmp_path: Path) -> None:
    async with open_desk(tmp_path, settings=HASTY) as desk:
        jobs, taking, go_on = desk.storage.jobs, asyncio.Event(), asyncio.Event()
        take = jobs.take

        async def slowly(begun: object) -> Job | None:
            job = await take(begun)  # type: ignore[arg-type]
            if job is not None:
                taking.set()
                await go_on.wait()
            return job

        jobs.take = slowly  # type: ignore[method-assign, assignment]
        desk.model.answer = asyncio.Event().wait
        created = await desk.create(background=True)
        await taking.wait()
        closing = asyncio.ensure_future(desk.service.shutdown())
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await desk.create()
        go_on.set()
        await closing
        assert (await desk.retrieved(created["id"]))["status"] == "queued"


async def test_a_failure_to_take_up_is_logged_and_the_next_time_is_another_try(
    answering: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take, tries = answering.storage.jobs.take, 0

    async def fail_once(begun: object) -> Job | None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StorageUnavailable("the reason")
        return await take(begun)  # type: ignore[arg-type]

    monkeypatch.setattr("llama_conversations.services.responses.background.POLL_SECONDS", 0.01)
    answering.storage.jobs.take = fail_once  # type: ignore[method-assign, assignment]
    created = await answering.create(background=True)
    assert (await ended(answering, created["id"]))["status"] == "completed"
    assert "taking up background responses failed" in caplog.text


async def test_a_failure_to_ask_for_cancellations_is_logged_and_the_next_time_is_another_try(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted, tries = desk.storage.jobs.cancel_requests, 0

    async def fail_once(ids: object) -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StorageUnavailable("the reason")
        return await wanted(ids)  # type: ignore[arg-type]

    desk.storage.jobs.cancel_requests = fail_once  # type: ignore[method-assign, assignment]
    desk.model.answer = asyncio.Event().wait
    created = await desk.create(background=True)
    await desk.model.asked.wait()
    await desk.storage.jobs.request_cancel(DEFAULT_SCOPE, created["id"], str)
    assert (await ended(desk, created["id"]))["status"] == "cancelled"
    assert "asking for cancellations failed" in caplog.text


async def test_a_run_that_was_given_up_is_void_for_who_has_seen_it_also_if_there_is_never_another(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path, settings=QUEUE_ONLY) as desk:
        jobs = desk.storage.jobs
        frames = (await desk.service.create_response(request(background=True, stream=True))).frames  # type: ignore[union-attr]
        response_id = read_frames(await anext(frames))[0]["response"]["id"]
        job = await jobs.take(lambda head: head)
        assert job is not None
        shown = [EventRecord(n, f'event: x\ndata: {{"type":"x","sequence_number":{n}}}\n\n') for n in (2, 3)]
        await jobs.add_events(response_id, shown)
        assert [event["sequence_number"] for event in read_frames(await anext(frames))] == [2, 3]
        await jobs.give_back(response_id, job.response.head)
        [told] = read_frames(b"".join([frame async for frame in frames]))
        assert (told["type"], told["code"], told["sequence_number"]) == ("error", "response_restarted", 4)
        await desk.service.cancel_response(response_id)
        assert [event["sequence_number"] for event in await stream(desk, response_id)] == [0, 1, 4]
        assert [event["sequence_number"] for event in await stream(desk, response_id, after=1)] == [4]
        assert await stream(desk, response_id, after=4) == []
        assert [event["type"] for event in await stream(desk, response_id, after=3)] == ["error"]


async def test_a_job_is_taken_up_only_where_turns_leave_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_conversations.services.responses.background.POLL_SECONDS", 0.01)
    async with open_desk(tmp_path, settings=TurnSettings(max_turns=1)) as desk, busy(desk) as finish:
        jobs, taken = desk.storage.jobs, asyncio.Event()
        take, job = jobs.take, Job(DEFAULT_SCOPE, *await _queued_elsewhere(tmp_path))

        async def watched(begun: Callable[[str], str]) -> Job | None:
            taken.set()
            return await take(begun)

        monkeypatch.setattr(jobs, "take", watched)
        await jobs.enqueue(job, (), 10)
        looked = asyncio.Event()
        monkeypatch.setattr(desk.service._runner.__class__, "has_room", property(lambda _: looked.set()))
        await looked.wait()
        monkeypatch.undo()
        monkeypatch.setattr(jobs, "take", watched)
        assert not taken.is_set()
        await finish()
        assert (await ended(desk, job.response.id))["status"] == "completed"


async def test_a_job_that_finds_the_room_gone_waits_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_desk(tmp_path, settings=TurnSettings(max_turns=1)) as desk, AsyncExitStack() as turns:
        jobs, given_back = desk.storage.jobs, asyncio.Event()
        take, give_back, job = jobs.take, jobs.give_back, Job(DEFAULT_SCOPE, *await _queued_elsewhere(tmp_path))
        finishers: list[Callable[[], Awaitable[None]]] = []

        async def take_and_lose_the_room(begun: Callable[[str], str]) -> Job | None:
            found = await take(begun)
            if found is not None and not finishers:
                finishers.append(await turns.enter_async_context(busy(desk)))
            return found

        async def note(response_id: str, head: str) -> None:
            await give_back(response_id, head)
            given_back.set()

        monkeypatch.setattr(jobs, "give_back", note)
        monkeypatch.setattr(jobs, "take", take_and_lose_the_room)
        await jobs.enqueue(job, (), 10)
        await given_back.wait()
        assert (await desk.retrieved(job.response.id))["status"] == "queued"
        await finishers[0]()
        assert (await ended(desk, job.response.id))["status"] == "completed"
    assert "failed" not in caplog.text


@asynccontextmanager
async def busy(desk: Desk) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A turn that runs until the function that is given lets it end."""
    gate = asyncio.Event()
    desk.model.script = [gate.wait, *ANSWER]
    desk.model.answer = orjson.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]})
    frames = await desk.frames()
    await anext(frames)

    async def finish() -> None:
        gate.set()
        assert [frame async for frame in frames]

    yield finish


async def _queued_elsewhere(tmp_path: Path) -> tuple[object, str, bool]:
    """A job as another process would queue it."""
    from llama_conversations.services.responses.snapshot import QUEUED, new_response, response_head
    from unit.services.responses.support import ScriptedModel, turn_of

    turn = turn_of(ScriptedModel(), background=True)
    waiting = new_response(turn, QUEUED, response_head(turn, QUEUED))
    return waiting, turn.request.model_dump_json(exclude_unset=True), False


async def test_credentials_of_tool_servers_are_not_kept_in_the_clear_and_reach_them(tmp_path: Path) -> None:
    tool = {
        "type": "mcp",
        "server_label": "box",
        "server_url": "http://t",
        "authorization": "s3cr3t-token",
        "headers": {"X-Key": "s3cr3t-key"},
        "require_approval": "never",
    }
    async with open_desk(tmp_path, settings=QUEUE_ONLY) as desk:
        created = await desk.create(background=True, tools=[tool])
        assert "s3cr3t" not in str(created)
    assert b"s3cr3t" not in (tmp_path / "state.db").read_bytes()
    async with open_desk(tmp_path, *ANSWER) as desk:
        desk.tools.add("echo", echo)
        desk.model.answer = orjson.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]})
        await ended(desk, created["id"])
        assert desk.tools.seen[0][1].authorization == "s3cr3t-token"  # type: ignore[attr-defined]


class Jobs:
    """Where a journal's batches go; storing waits for ``gate``, and fails where ``failures`` says so."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.failures: list[Exception] = []
        self.gate, self.storing = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def add_events(self, _: str, events: Sequence[EventRecord]) -> None:
        self.storing.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.stored += [event.sequence_number for event in events]


@pytest.fixture
async def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setattr("llama_conversations.services.responses.journal.FLUSH_SECONDS", 0)
    return Jobs()


def journal_of(jobs: Jobs) -> EventJournal:
    return EventJournal(jobs, "resp_1", EventWriter(2), LocalNews())  # type: ignore[arg-type]


DELTA = OutputTextDelta("msg_1", 0, 0, "a", ())


class TestEventJournal:
    async def test_events_are_stored_in_batches_and_the_terminal_one_never(self, jobs: Jobs) -> None:
        journal = journal_of(jobs)
        for _ in range(3):
            journal.add(DELTA)
        await jobs.storing.wait()
        journal.add(ResponseEvent("response.completed", b"{}"))
        await asyncio.sleep(0)
        assert jobs.stored == [2, 3, 4]
        assert list(await journal.last()) == []

    async def test_what_is_on_its_way_is_stored_once(self, jobs: Jobs) -> None:
        journal = journal_of(jobs)
        jobs.gate.clear()
        journal.add(DELTA)
        await jobs.storing.wait()
        journal.add(DELTA)
        last = asyncio.ensure_future(journal.last())
        await asyncio.sleep(0)
        jobs.gate.set()
        assert [event.sequence_number for event in await last] == [3]
        assert jobs.stored == [2]

    async def test_what_failed_on_its_way_is_stored_with_the_end(self, jobs: Jobs) -> None:
        journal = journal_of(jobs)
        jobs.gate.clear()
        jobs.failures = [StorageUnavailable("a")]
        journal.add(DELTA)
        await jobs.storing.wait()
        last = asyncio.ensure_future(journal.last())
        await asyncio.sleep(0)
        jobs.gate.set()
        assert [event.sequence_number for event in await last] == [2]

    async def test_what_could_not_be_stored_is_stored_with_what_comes_next(
        self, jobs: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        journal = journal_of(jobs)
        jobs.failures = [StorageUnavailable("the reason")]
        journal.add(DELTA)
        await asyncio.wait([journal._flushing])  # type: ignore[list-item]
        assert "could not be stored yet" in caplog.text
        journal.add(DELTA)
        await asyncio.wait([journal._flushing])  # type: ignore[list-item]
        assert jobs.stored == [2, 3]

    async def test_nothing_added_is_nothing_left(self, jobs: Jobs) -> None:
        assert list(await journal_of(jobs).last()) == []


async def test_whoever_queued_a_stream_is_told_so_whatever_happens_to_the_database_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StorageUnavailable("It is away.")

    monkeypatch.setattr(desk.storage.jobs, "events", away)
    frames = await desk.frames(background=True)
    [created, queued] = read_frames(await anext(frames))
    assert [event["type"] for event in (created, queued)] == ["response.created", "response.queued"]
    with pytest.raises(StorageUnavailable):
        await anext(frames)


async def test_whoever_is_cut_off_while_a_job_is_queued_is_not_told_to_retry(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    queueing, enqueue = asyncio.Event(), desk.storage.jobs.enqueue

    async def slow(*arguments: object) -> None:
        queueing.set()
        await asyncio.Event().wait()
        await enqueue(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.storage.jobs, "enqueue", slow)
    asking = asyncio.ensure_future(desk.create(background=True))
    await queueing.wait()
    asking.cancel()
    with pytest.raises(OutcomeUnknown, match="The server was stopped"):
        await asking
