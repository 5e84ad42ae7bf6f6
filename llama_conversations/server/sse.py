"""Server-sent events: a generator of frames becomes an HTTP answer.

One task drives the generator and sends each frame as it comes: that is all that happens for it while the client keeps
up. The request's own task waits beside it for what is rare. So a client that hangs up ends the generator even while it
waits for its next frame, silence is noticed without a timer for each frame, and frames that come faster than they are
sent go out together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from enum import Enum, auto

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
    stream = _Stream(exchange, headers, ping_seconds)
    driver = asyncio.create_task(stream.drive(frames))
    driver.add_done_callback(stream.wake)
    gone.add_done_callback(stream.wake)
    try:
        await asyncio.sleep(0)  # the generator's first step
        await stream.attend(driver, gone)
    finally:
        stream.silence.stop()
        gone.remove_done_callback(stream.wake)
        await _stop(driver)
    if exchange.status is None:
        await exchange.begin_stream(CONTENT_TYPE, headers)
    await exchange.end_stream()


async def _stop(driver: asyncio.Task[None]) -> None:
    """Cancel the task if it still runs, and wait until the generator is closed."""
    if not driver.done():
        driver.cancel()
        await asyncio.wait((driver,))
    if not driver.cancelled():
        driver.exception()  # taken note of here, lest asyncio report it as never retrieved


class _Sender(Enum):
    """Whose turn it is to send."""

    NOBODY = auto()
    GENERATOR = auto()
    """The generator's task sends a frame, or has done so in this turn of the event loop."""
    REQUEST = auto()
    """The request's task sends what was gathered, or a ping."""


class _Stream:
    """Frames on their way from the generator to the connection.

    A frame is sent by the generator's task, unless somebody sends already, or the same task has done so in this turn
    of the event loop: then the generator makes frames faster than the client takes them, or without waiting. Those are
    gathered, and sent by the request's task in one piece.
    """

    def __init__(self, exchange: Exchange, headers: Mapping[str, str], ping_seconds: float) -> None:
        self._exchange, self._headers = exchange, headers
        self._loop = asyncio.get_running_loop()
        self._sender = _Sender.NOBODY
        self._gathered: list[bytes] = []
        self._size = 0
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self.silence = _Silence(ping_seconds, self.wake)

    def wake(self, _: object = None) -> None:
        """There is something for the request's task to see to."""
        self._woken.set()

    async def drive(self, frames: AsyncGenerator[bytes, None]) -> None:
        """Run the generator to its end, and close it."""
        try:
            async for frame in frames:
                if self._exchange.status is None:
                    await self._exchange.begin_stream(CONTENT_TYPE, self._headers)
                    if self._exchange.method == "HEAD":
                        return
                if self._sender is _Sender.NOBODY:
                    await self._send_at_once(frame)
                else:
                    await self._gather(frame)
        finally:
            await frames.aclose()

    async def attend(self, driver: asyncio.Task[None], gone: asyncio.Future[None]) -> None:
        """See to all but the common case, until the generator has ended; then raise what it raised, if it did."""
        while not gone.done():
            if self._gathered:
                await self._send_gathered()
            elif driver.done():
                driver.result()
                return
            elif self._sender is _Sender.NOBODY and self.silence.is_long:
                await self._send_beside(PING)
            else:
                self._woken.clear()
                await self._woken.wait()
        raise ClientGone

    async def _send_at_once(self, frame: bytes) -> None:
        self._sender = _Sender.GENERATOR
        await self._exchange.send_part(frame)
        self.silence.end()
        self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        """The generator waits, or has ended."""
        if self._gathered:
            self.wake()
        elif self._sender is _Sender.GENERATOR:
            self._sender = _Sender.NOBODY

    async def _gather(self, frame: bytes) -> None:
        self._gathered.append(frame)
        self._size += len(frame)
        if self._size >= MAX_PENDING_BYTES:
            self._room.clear()
            await self._room.wait()

    async def _send_gathered(self) -> None:
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._size = 0
        self._room.set()
        await self._send_beside(data)

    async def _send_beside(self, data: bytes) -> None:
        self._sender = _Sender.REQUEST
        await self._exchange.send_part(data)
        self.silence.end()
        if not self._gathered:
            self._sender = _Sender.NOBODY


class _Silence:
    """Tells when nothing was sent for an interval, and again for each further one; before the first frame, never."""

    def __init__(self, interval_seconds: float, tell: Callable[[], None]) -> None:
        self._interval, self._tell = interval_seconds, tell
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None
        self._timer = self._loop.call_later(interval_seconds, self._look)

    @property
    def is_long(self) -> bool:
        """Whether nothing was sent for an interval."""
        return self._began is not None and self._loop.time() >= self._began + self._interval

    def end(self) -> None:
        """Something was sent: a new silence begins."""
        self._began = self._loop.time()

    def stop(self) -> None:
        """There is no more to be told."""
        self._timer.cancel()

    def _look(self) -> None:  # re-armed once per interval, not with each frame
        if self.is_long:
            self._tell()
        now = self._loop.time()
        began = now if self.is_long or self._began is None else self._began
        self._timer = self._loop.call_at(began + self._interval, self._look)
