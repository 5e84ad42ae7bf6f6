"""Server-sent events: a generator of frames becomes an HTTP answer.

One task fills an outbox from the generator, the request's own task empties it into the connection. So frames that come
faster than they are sent go out together, silence is noticed without a timer for each frame, and a client that hangs
up ends the generator even while it waits for its next frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

from llama_conversations.server.errors import Refusal
from llama_conversations.server.exchange import ClientGone, Exchange

__all__ = ["HEADERS", "PING", "PING_SECONDS", "error_frame", "send_events"]

CONTENT_TYPE = b"text/event-stream; charset=utf-8"
HEADERS: Mapping[str, str] = {"cache-control": "no-cache", "x-accel-buffering": "no"}

PING = b": ping\n\n"
"""A comment (HTML standard, 9.2.5): keeps proxies from closing a connection that they take for dead."""

PING_SECONDS = 15.0
"""Silence after which a ping is sent."""

MAX_PENDING_BYTES = 256 * 1024
"""How far the generator may run ahead of the client."""


def error_frame(refusal: Refusal) -> bytes:
    """The frame that tells of an error after the stream has begun; OpenAI's clients raise it as an ``APIError``."""
    return b'event: error\ndata: {"type": "error", ' + refusal.body[1:] + b"\n\n"


async def send_events(
    exchange: Exchange,
    frames: AsyncGenerator[bytes, None],
    gone: asyncio.Future[None],
    ping_seconds: float = PING_SECONDS,
    headers: Mapping[str, str] = HEADERS,
) -> None:
    """Answer with events. The status goes out with the first frame, so an error before it is an ordinary answer.

    The generator is always begun and always closed, in one task: a generator that was never begun would run none of
    its clean-up.

    Args:
        gone: Is done when the client has closed the connection.
        headers: Of the answer, beside its type.

    Raises:
        ClientGone: It has.
        Exception: Whatever the generator raised, after the frames before it were sent.
    """
    outbox = _Outbox(gone)
    filler = asyncio.create_task(outbox.fill(frames))
    filler.add_done_callback(outbox.wake)
    gone.add_done_callback(outbox.wake)
    try:
        await asyncio.sleep(0)  # the generator's first step
        await _empty(outbox, filler, exchange, ping_seconds, headers)
    finally:
        gone.remove_done_callback(outbox.wake)
        await _stop(filler)
    if exchange.status is None:
        await exchange.begin_stream(CONTENT_TYPE, headers)
    await exchange.end_stream()


async def _empty(
    outbox: _Outbox,
    filler: asyncio.Task[None],
    exchange: Exchange,
    ping_seconds: float,
    headers: Mapping[str, str],
) -> None:
    """Send what the outbox gets, until the generator has ended; then raise what it raised, if it did."""
    pings: _Pings | None = None
    try:
        while (data := await outbox.take(filler)) is not None:
            if pings is None:
                await exchange.begin_stream(CONTENT_TYPE, headers)
                pings = _Pings(outbox, ping_seconds)
            if exchange.method == "HEAD":
                return
            await exchange.send_part(data)
            pings.sent()
        filler.result()
    finally:
        if pings is not None:
            pings.stop()


async def _stop(filler: asyncio.Task[None]) -> None:
    """Cancel the task if it still runs, and wait until the generator is closed."""
    if not filler.done():
        filler.cancel()
        await asyncio.wait((filler,))
    if not filler.cancelled():
        filler.exception()  # taken note of here, lest asyncio report it as never retrieved


class _Outbox:
    """Frames on their way from the generator to the connection."""

    def __init__(self, gone: asyncio.Future[None]) -> None:
        self._gone = gone
        self._frames: list[bytes] = []
        self._size = 0
        self._ping = False
        self._woken = asyncio.Event()
        self._room = asyncio.Event()

    async def fill(self, frames: AsyncGenerator[bytes, None]) -> None:
        try:
            async for frame in frames:
                self._frames.append(frame)
                self._size += len(frame)
                self._woken.set()
                if self._size >= MAX_PENDING_BYTES:
                    self._room.clear()
                    await self._room.wait()
        finally:
            await frames.aclose()

    async def take(self, filler: asyncio.Task[None]) -> bytes | None:
        """Everything that is there to send, at least one frame or a ping; ``None`` when the generator has ended."""
        while not self._gone.done():
            if self._frames:
                data = b"".join(self._frames)
                self._frames.clear()
                self._size = 0
                self._ping = False
                self._room.set()
                return data
            if filler.done():
                return None
            if self._ping:
                self._ping = False
                return PING
            self._woken.clear()
            await self._woken.wait()
        raise ClientGone

    def wake(self, _: object = None) -> None:
        self._woken.set()

    def ping(self) -> None:
        self._ping = True
        self._woken.set()


class _Pings:
    """Puts a ping into the outbox after each interval in which nothing was sent; re-armed once per interval."""

    def __init__(self, outbox: _Outbox, interval_seconds: float) -> None:
        self._outbox = outbox
        self._interval = interval_seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(interval_seconds, self._look)

    def sent(self) -> None:
        self._last = self._loop.time()

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._last + self._interval:
            self._last = now
            self._outbox.ping()
        self._timer = self._loop.call_at(self._last + self._interval, self._look)
