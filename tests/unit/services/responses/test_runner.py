"""Turns go on whoever listens: hang-ups, slow readers, the end of the server, too many at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import orjson
import pytest

from harness.event_stream import check_stream, read_frames
from llama_conversations.errors import (
    ConversationLocked,
    ConversationNotFound,
    Overloaded,
    ShuttingDown,
    StreamStalled,
    UpstreamFailed,
)
from llama_conversations.ids import new_id
from llama_conversations.services.responses import runner as runner_module
from llama_conversations.services.responses.runner import FrameBuffer
from llama_conversations.services.responses.service import TurnSettings
from unit.services.responses.support import ANSWER, PROVIDER, Desk, end, open_desk, text, types

FAILED = UpstreamFailed(PROVIDER, "It broke.")


def completion(content: str = "Hello you") -> bytes:
    return orjson.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Desk]:
    """At most two turns at a time, and no time to drain."""
    async with open_desk(tmp_path, *ANSWER, settings=TurnSettings(max_turns=2, drain_seconds=0)) as desk:
        yield desk


async def test_a_stream_is_whole_frames_that_can_be_read_one_by_one_or_together(desk: Desk) -> None:
    frames = [frame async for frame in await desk.frames()]
    assert all(frame.endswith(b"\n\n") for frame in frames)
    response = check_stream(read_frames(b"".join(frames)))
    assert await desk.retrieved(response["id"]) == response


async def test_what_waits_for_the_reader_is_sent_together(desk: Desk) -> None:
    frames = await desk.frames()
    first = await anext(frames)
    await desk.settled()
    rest = [frame async for frame in frames]
    assert len(rest) == 1
    check_stream(read_frames(first + rest[0]))


@pytest.mark.parametrize("stored_by", ["store", "conversation"])
async def test_a_reader_that_hangs_up_does_not_lose_a_turn_that_leaves_a_trace(desk: Desk, stored_by: str) -> None:
    conversation_id, gate = await desk.conversation(), asyncio.Event()
    desk.model.script = [text("Hello"), gate.wait, *ANSWER]
    asked = {"store": True} if stored_by == "store" else {"store": False, "conversation": conversation_id}
    frames = await desk.frames(**asked)
    await anext(frames)
    await frames.aclose()
    gate.set()
    await desk.settled()
    assert not desk.model.dropped.is_set()
    if stored_by == "store":
        [response] = await desk.responses()
        assert response["status"] == "completed"
    else:
        assert len(await desk.held(conversation_id)) == 2
        assert await desk.unlocked(conversation_id)


async def test_a_reader_that_hangs_up_ends_a_turn_that_leaves_none_and_the_model_stops(desk: Desk) -> None:
    desk.model.script = [text("Hello"), asyncio.Event().wait]
    frames = await desk.frames(store=False)
    await anext(frames)
    await frames.aclose()
    await desk.settled()
    assert desk.model.dropped.is_set()
    assert await desk.responses() == []


@pytest.mark.parametrize("store", [True, False])
async def test_a_reader_that_hangs_up_before_the_first_frame_is_treated_alike(desk: Desk, store: bool) -> None:
    gate = asyncio.Event()
    desk.model.script = [gate.wait, *ANSWER]
    frames = await desk.frames(store=store)
    reading = asyncio.ensure_future(anext(frames))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    gate.set()
    await desk.settled()
    assert [response["status"] for response in await desk.responses()] == (["completed"] if store else [])


async def test_a_stream_that_is_never_read_begins_no_turn(desk: Desk) -> None:
    frames = await desk.frames()
    await frames.aclose()
    await desk.settled()
    assert not desk.model.asked.is_set()
    assert await desk.responses() == []


@pytest.mark.parametrize("store", [True, False])
async def test_a_caller_that_hangs_up_before_its_answer_is_treated_alike(desk: Desk, store: bool) -> None:
    gate = asyncio.Event()
    desk.model.answer = completion()
    waiting = gate.wait

    async def answer(step: object) -> bytes:
        await waiting()
        return completion()

    desk.model._do = answer  # type: ignore[method-assign, assignment]
    asking = asyncio.ensure_future(desk.create(store=store))
    await desk.model.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gate.set()
    await desk.settled()
    assert [response["status"] for response in await desk.responses()] == (["completed"] if store else [])


async def test_errors_of_the_claim_are_raised_before_the_first_frame(desk: Desk) -> None:
    conversation_id, gate = await desk.conversation(), asyncio.Event()
    with pytest.raises(ConversationNotFound):
        await anext(await desk.frames(conversation=new_id("conv")))
    desk.model.script = [gate.wait, *ANSWER]
    first = await desk.frames(conversation=conversation_id)
    await anext(first)
    with pytest.raises(ConversationLocked):
        await anext(await desk.frames(conversation=conversation_id))
    with pytest.raises(ConversationLocked):
        await desk.create(conversation=conversation_id)
    gate.set()
    assert [frame async for frame in first]


async def test_a_model_that_fails_is_an_error_to_who_does_not_stream_and_events_to_who_does(desk: Desk) -> None:
    desk.model.script, desk.model.answer = [FAILED], FAILED
    with pytest.raises(UpstreamFailed) as found:
        await desk.create()
    assert found.value is FAILED
    assert types(await desk.events()) == ["created", "in_progress", "error", "failed"]
    assert [response["status"] for response in await desk.responses()] == ["failed", "failed"]


async def test_one_turn_more_than_the_limit_is_refused_before_anything_is_stored(small: Desk) -> None:
    gate = asyncio.Event()
    small.model.script = [gate.wait, *ANSWER]
    running = [await small.frames() for _ in range(2)]
    for frames in running:
        await anext(frames)
    for attempt in (small.create(), small.frames()):
        with pytest.raises(Overloaded):
            await attempt
    assert len(await small.responses()) == 2
    gate.set()
    for frames in running:
        assert [frame async for frame in frames]
    await small.settled()
    check_stream(await small.events())


async def test_requests_that_were_let_in_together_do_not_exceed_the_limit_either(small: Desk) -> None:
    gate = asyncio.Event()
    small.model.script = [gate.wait, *ANSWER]
    streams = [await small.frames() for _ in range(5)]
    begun = await asyncio.gather(*(anext(frames) for frames in streams), return_exceptions=True)
    assert [isinstance(frame, Overloaded) for frame in begun] == [False, False, True, True, True]
    gate.set()
    await small.settled()
    assert len(await small.responses()) == 2


async def test_draining_waits_for_what_runs_and_takes_nothing_new(desk: Desk) -> None:
    conversation_id, gate = await desk.conversation(), asyncio.Event()
    desk.model.script = [gate.wait, *ANSWER]
    frames = await desk.frames(conversation=conversation_id)
    first, late = await anext(frames), await desk.frames()
    closing = asyncio.ensure_future(desk.service.shutdown())
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDown):
        await desk.create()
    with pytest.raises(ShuttingDown):
        await anext(late)
    assert not closing.done()
    gate.set()
    check_stream(read_frames(first + b"".join([frame async for frame in frames])))
    await closing
    assert len(await desk.held(conversation_id)) == 2


async def test_what_still_runs_when_the_time_to_drain_is_over_ends_as_failed_and_unlocked(small: Desk) -> None:
    conversation_id = await small.conversation()
    small.model.script = [text("Hello"), asyncio.Event().wait]
    frames = await small.frames(conversation=conversation_id)
    await anext(frames)
    await small.service.shutdown()
    with pytest.raises(ShuttingDown):
        async for _ in frames:
            pass
    assert small.model.dropped.is_set()
    [response] = await small.responses()
    assert response["status"] == "failed"
    assert await small.unlocked(conversation_id)
    assert await small.held(conversation_id) == []


async def test_who_waits_for_an_answer_is_told_that_the_server_shuts_down(small: Desk) -> None:
    async def never(_: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    small.model._do = never  # type: ignore[method-assign, assignment]
    asking = asyncio.ensure_future(small.create())
    await small.model.asked.wait()
    await small.service.shutdown()
    with pytest.raises(ShuttingDown):
        await asking
    assert [response["status"] for response in await small.responses()] == ["failed"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_turn_that_commits_when_the_time_to_drain_is_over_is_told_as_it_is_stored(
    small: Desk, streamed: bool
) -> None:
    committing, gate, commit = asyncio.Event(), asyncio.Event(), small.storage.responses.commit

    async def slow_commit(*arguments: object) -> None:
        committing.set()
        await gate.wait()
        await commit(*arguments)  # type: ignore[arg-type]

    small.storage.responses.commit = slow_commit  # type: ignore[method-assign, assignment]
    small.model.answer = completion()
    asking = asyncio.ensure_future(small.events() if streamed else small.create())
    await committing.wait()
    closing = asyncio.ensure_future(small.service.shutdown())
    for _ in range(20):
        await asyncio.sleep(0)
    assert all(task.cancelling() for task in small.service._runner._tasks)
    gate.set()
    told = await asking
    await closing
    response = check_stream(told) if streamed else told  # type: ignore[arg-type]
    assert response["status"] == "completed"  # type: ignore[call-overload]
    assert await small.responses() == [response]


async def test_a_slow_reader_makes_the_model_wait_and_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MAX_BUFFERED_BYTES", 2000)
    said = 0

    def count() -> None:
        nonlocal said
        said += 1

    desk.model.script = [step for n in range(200) for step in (text(f"{n} "), count)] + [end()]
    frames = await desk.frames()
    async with aclosing(frames):
        data = await anext(frames)
        for _ in range(100):
            await asyncio.sleep(0)
        assert said < 50
        data += b"".join([frame async for frame in frames])
    response = check_stream(read_frames(data))
    assert response["output"][0]["content"][0]["text"] == "".join(f"{n} " for n in range(200))
    assert said == 200


async def test_a_reader_that_takes_nothing_for_long_is_left_behind_told_so_and_the_turn_is_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner_module, "MAX_BUFFERED_BYTES", 100)
    monkeypatch.setattr(runner_module, "STALLED_SECONDS", 0.01)
    frames = await desk.frames()
    await anext(frames)
    with caplog.at_level(logging.WARNING):
        await desk.settled()
    assert "took nothing" in caplog.text
    [response] = await desk.responses()
    assert response["status"] == "completed"
    with pytest.raises(StreamStalled):
        async for _ in frames:
            pass


class TestFrameBuffer:
    async def collected(self, buffer: FrameBuffer) -> list[bytes]:
        return [frames async for frames in buffer.frames()]

    async def test_frames_come_in_order_and_what_waits_comes_joined(self) -> None:
        buffer = FrameBuffer()
        for frame in (b"a", b"b"):
            await buffer.put(frame)
        frames = buffer.frames()
        assert await anext(frames) == b"ab"
        waiting = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0)
        await buffer.put(b"c")
        assert await waiting == b"c"
        buffer.close(None)
        assert [frame async for frame in frames] == []

    async def test_an_error_comes_behind_the_frames(self) -> None:
        buffer = FrameBuffer()
        await buffer.put(b"a")
        buffer.close(FAILED)
        frames = buffer.frames()
        assert await anext(frames) == b"a"
        with pytest.raises(UpstreamFailed):
            await anext(frames)

    async def test_a_reader_that_waits_is_woken_by_the_end(self) -> None:
        for error in (None, FAILED):
            buffer = FrameBuffer()
            reading = asyncio.ensure_future(self.collected(buffer))
            await asyncio.sleep(0)
            buffer.close(error)
            if error is None:
                assert await reading == []
            else:
                with pytest.raises(UpstreamFailed):
                    await reading

    async def test_a_writer_waits_for_room_and_is_woken_by_the_reader_or_its_leaving(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runner_module, "MAX_BUFFERED_BYTES", 1)
        for leave in (False, True):
            buffer = FrameBuffer()
            putting = asyncio.ensure_future(buffer.put(b"abc"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not putting.done()
            if leave:
                buffer.detach()
            else:
                assert await anext(buffer.frames()) == b"abc"
            await putting

    async def test_without_a_reader_frames_are_dropped_and_nobody_waits(self) -> None:
        buffer = FrameBuffer()
        buffer.detach()
        await buffer.put(b"a" * (2 << 20))
        buffer.close(None)
        assert await self.collected(buffer) == []

    async def test_many_frames_pass_a_reader_and_a_writer_that_take_turns(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runner_module, "MAX_BUFFERED_BYTES", 20)
        buffer = FrameBuffer()

        async def write() -> None:
            for n in range(2000):
                await buffer.put(b"%d," % n)
            buffer.close(None)

        writing = asyncio.ensure_future(write())
        assert b"".join(await self.collected(buffer)) == b"".join(b"%d," % n for n in range(2000))
        await writing
