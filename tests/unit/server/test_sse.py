from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from llama_conversations import errors
from llama_conversations.server.exchange import Exchange
from llama_conversations.server.sse import MAX_PENDING_BYTES, PING, send_events
from unit.server.toy import PING_SECONDS

BODY = b'{"text": "x"}'
POST = b"POST /v1/play HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


def frame(n: int) -> bytes:
    return b"data: %d\n\n" % n


async def chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body, which is what the server sent in one piece; empty at the end."""
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size)
    await reader.readline()
    return data


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


class Script:
    """A generator of frames that tells how it ended."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = frames
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            for sent in self.frames:
                yield sent
            self.waiting.set()
            await self.go_on.wait()
            yield b"data: last\n\n"
        finally:
            self.closed.set()


async def test_a_stream_has_the_headers_of_server_sent_events(client, toybox):
    script = toybox.frames = Script(frame(1))
    script.go_on.set()
    answer = await client.post("/v1/play", content=BODY)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.content == frame(1) + b"data: last\n\n"


async def test_the_first_frame_is_sent_at_once_and_frames_that_are_ready_go_out_together(port, toybox):
    script = toybox.frames = Script(*(frame(n) for n in range(50)))
    async with connection(port) as (reader, writer):
        writer.write(POST)
        await reader.readuntil(b"\r\n\r\n")
        assert await chunk(reader) == frame(0)
        assert await chunk(reader) == b"".join(frame(n) for n in range(1, 50))
        assert not script.go_on.is_set()
        script.go_on.set()
        assert await chunk(reader) == b"data: last\n\n"
        assert await chunk(reader) == b""


async def test_silence_is_filled_with_pings(port, toybox):
    script = toybox.frames = Script(frame(1))
    async with connection(port) as (reader, writer):
        writer.write(POST)
        await reader.readuntil(b"\r\n\r\n")
        assert await chunk(reader) == frame(1)
        began = asyncio.get_running_loop().time()
        assert [await chunk(reader) for _ in range(3)] == [PING] * 3
        assert asyncio.get_running_loop().time() - began >= 2 * PING_SECONDS
        script.go_on.set()
        parts = [part async for part in _until_end(reader)]
        assert parts[-1] == b"data: last\n\n"


async def _until_end(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while part := await chunk(reader):
        yield part


async def test_no_ping_is_sent_before_the_first_frame(port, toybox):
    script = toybox.frames = Script()
    async with connection(port) as (reader, writer):
        writer.write(POST)
        head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        done, _ = await asyncio.wait((head,), timeout=3 * PING_SECONDS)
        assert not done
        script.go_on.set()
        await head
        assert await chunk(reader) == b"data: last\n\n"


async def test_an_error_before_the_first_frame_is_an_ordinary_answer(client, toybox):
    async def frames() -> AsyncGenerator[bytes, None]:
        raise errors.UpstreamRateLimited("p", "slow down", retry_after="3")
        yield b""

    toybox.frames = frames
    answer = await client.post("/v1/play", content=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["error"]["message"] == "slow down"


async def test_an_error_in_mid_stream_comes_after_the_frames_before_it_and_ends_the_stream_cleanly(client, toybox):
    async def frames() -> AsyncGenerator[bytes, None]:
        yield frame(1)
        yield frame(2)
        raise ValueError("secret")

    toybox.frames = frames
    answer = await client.post("/v1/play", content=BODY)
    assert answer.status_code == 200
    before, _, last = answer.text.partition("event: error\ndata: ")
    assert before.encode() == frame(1) + frame(2)
    assert last.endswith("}\n\n")
    told = json.loads(last)
    assert told["type"] == "error"
    assert (told["error"]["type"], set(told["error"])) == ("server_error", {"message", "type", "param", "code"})
    assert "secret" not in last


async def test_a_stream_without_frames_is_an_empty_stream(client, toybox):
    async def frames() -> AsyncGenerator[bytes, None]:
        return
        yield b""

    toybox.frames = frames
    answer = await client.post("/v1/play", content=BODY)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_an_empty_frame_does_not_end_the_stream(client, toybox):
    toybox.frames = script = Script(b"", frame(1))
    script.go_on.set()
    assert (await client.post("/v1/play", content=BODY)).content == frame(1) + b"data: last\n\n"


async def test_the_connection_is_kept_after_a_stream(port, toybox):
    script = toybox.frames = Script(frame(1))
    script.go_on.set()
    async with connection(port) as (reader, writer):
        for _ in range(2):
            writer.write(POST)
            await reader.readuntil(b"\r\n\r\n")
            assert b"".join([part async for part in _until_end(reader)]).endswith(b"data: last\n\n")


async def test_a_client_that_hangs_up_ends_the_generator_while_it_waits_for_its_next_frame(port, toybox):
    script = toybox.frames = Script(frame(1))
    async with connection(port) as (reader, writer):
        writer.write(POST)
        await reader.readuntil(b"\r\n\r\n")
        await script.waiting.wait()
    await asyncio.wait_for(script.closed.wait(), 5)
    assert not script.go_on.is_set()


async def test_a_client_that_hangs_up_before_the_first_frame_ends_the_generator(port, toybox):
    script = toybox.frames = Script()
    async with connection(port) as (_, writer):
        writer.write(POST)
        await script.waiting.wait()
    await asyncio.wait_for(script.closed.wait(), 5)


async def test_a_client_that_hangs_up_cancels_an_answer_that_may_take_long(port, toybox, caplog):
    async with connection(port) as (_, writer):
        writer.write(POST)
        await toybox.called.wait()
    await asyncio.wait_for(toybox.cancelled.wait(), 5)
    assert not caplog.records


async def test_work_that_fails_while_it_is_cancelled_disturbs_nobody(port, toybox, monkeypatch, caplog):
    async def watch() -> None:
        toybox.called.set()
        try:
            await asyncio.Event().wait()
        finally:
            toybox.cancelled.set()
            raise ValueError("in clean-up")

    monkeypatch.setattr(toybox, "watch", watch)
    async with connection(port) as (_, writer):
        writer.write(POST)
        await toybox.called.wait()
    await asyncio.wait_for(toybox.cancelled.wait(), 5)
    assert not caplog.records


async def test_an_answer_that_may_stream_need_not(client, toybox):
    toybox.may_answer.set()
    answer = await client.post("/v1/play", content=BODY)
    assert answer.json() == {"arguments": {}}
    toybox.error = errors.ModelNotFound("m")
    assert (await client.post("/v1/play", content=BODY)).status_code == 400


async def test_a_generator_does_not_run_far_ahead_of_a_client_that_does_not_read(port, toybox):
    size = 64 * 1024
    made = 0
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        nonlocal made
        try:
            while True:
                made += 1
                yield b"x" * size
        finally:
            closed.set()

    toybox.frames = frames
    async with connection(port) as (reader, writer):
        writer.write(POST)
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != made:  # until nothing moves any more
            before = made
            await asyncio.wait((asyncio.ensure_future(closed.wait()),), timeout=0.2)
        socket_buffers = 16 * 1024 * 1024
        assert made * size < MAX_PENDING_BYTES + socket_buffers
    await asyncio.wait_for(closed.wait(), 5)


async def test_head_gets_a_streams_headers_and_ends_the_generator(client, toybox):
    script = toybox.frames = Script(frame(1))
    answer = await client.head("/v1/play")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    await asyncio.wait_for(script.closed.wait(), 5)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_generator_is_begun_and_closed_even_if_the_client_is_gone_already(app, toybox, when):
    """The client may go between the answer's making and its first frame; clean-up must run all the same."""
    begun, closed = asyncio.Event(), asyncio.Event()
    gone = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            closed.set()

    def make() -> AsyncGenerator[bytes, None]:
        gone.set()
        return frames()

    toybox.frames = make
    messages = [{"type": "http.request", "body": BODY}]
    if when == "before":
        gone.set()

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/play", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert begun.is_set() == closed.is_set()
    assert begun.is_set()


class Sending:
    """Where an exchange sends to: notes what comes and from whom, and takes as many turns of the event loop as told."""

    def __init__(self, turns: Sequence[int] = ()) -> None:
        self.turns, self.parts, self.senders, self.is_busy = list(turns), list[bytes](), list[object](), False

    async def __call__(self, message: Message) -> None:
        assert not self.is_busy
        self.is_busy = True
        for _ in range(self.turns.pop() if self.turns else 0):
            await asyncio.sleep(0)
        self.is_busy = False
        if message["type"] == "http.response.body" and message["body"]:
            self.parts.append(message["body"])
            self.senders.append(asyncio.current_task())

    async def take(self, frames: AsyncGenerator[bytes, None], ping_seconds: float = PING_SECONDS) -> None:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await send_events(Exchange(scope, self._receive, self), frames, gone, ping_seconds)

    async def _receive(self) -> Message:
        raise AssertionError


async def test_a_frame_that_was_waited_for_is_sent_by_the_task_that_waited():
    tasks = []

    async def frames() -> AsyncGenerator[bytes, None]:
        for n in range(5):
            tasks.append(asyncio.current_task())
            yield frame(n)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    sending = Sending()
    await sending.take(frames())
    assert sending.parts == [frame(n) for n in range(5)]
    assert sending.senders == tasks


@settings(deadline=None)
@given(st.lists(st.sampled_from(["frame", "frame", "turn", "silence"]), max_size=30), st.lists(st.integers(0, 4)))
def test_frames_are_sent_one_at_a_time_and_in_their_order(story: Sequence[str], turns: Sequence[int]) -> None:
    """However frames, silence and a client that is slow come together."""

    async def frames() -> AsyncGenerator[bytes, None]:
        for number, step in enumerate(story):
            if step == "frame":
                yield frame(number)
            else:
                await asyncio.sleep(0 if step == "turn" else 0.002)

    sending = Sending(turns)
    asyncio.run(sending.take(frames(), ping_seconds=0.001))
    sent = b"".join(sending.parts)
    assert sent.replace(PING, b"") == b"".join(frame(n) for n, step in enumerate(story) if step == "frame")


async def test_a_client_that_does_not_take_its_first_frame_gets_those_behind_it_together():
    async def frames() -> AsyncGenerator[bytes, None]:
        yield frame(0)
        await asyncio.sleep(0)
        for n in range(1, 4):
            yield frame(n)

    sending = Sending([3, 3])
    await sending.take(frames())
    assert sending.parts == [frame(0), frame(1), frame(2) + frame(3)]
