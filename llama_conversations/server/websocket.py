"""A WebSocket (RFC 6455) between a client and a channel: messages in, events out, each one text message of JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from starlette.types import Message, Receive, Send

from llama_conversations.apis.channels import Asked, Channel
from llama_conversations.errors import ConnectionExpired, ShuttingDown, TooManyLanes, TooManyMessages
from llama_conversations.server.errors import Refusal
from llama_conversations.server.exchange import Headers
from llama_conversations.wire.connections import refused

__all__ = ["GOING_AWAY", "RESTARTS", "Socket"]

GOING_AWAY = 1001
"""Close code of a connection that is too old; clients that reconnect do so on this one (RFC 6455, 7.4.1)."""

RESTARTS = 1012
"""Close code of a server that shuts down (IANA registry: service restart)."""

MAX_LANES = 32
MAX_RUNNING = 16
"""Named lanes, and answers at a time, of one connection (OpenAI API guide, WebSocket mode)."""

MAX_WAITING = 256
"""Messages of one connection that may wait for their turn."""

Refuse = Callable[[BaseException], Refusal]


class Socket:
    """One connection, which is accepted and closed here.

    Args:
        refuse: From an error to what is told of it.
        max_waiting_bytes: Of messages that wait for their turn.
        seconds: How long the connection may last.
    """

    def __init__(
        self, receive: Receive, send: Send, channel: Channel, refuse: Refuse, max_waiting_bytes: int, seconds: float
    ) -> None:
        self._receive, self._send = receive, send
        self._channel, self._refuse = channel, refuse
        self._seconds = seconds
        self._free_bytes = max_waiting_bytes
        self._slots = asyncio.Semaphore(MAX_RUNNING)
        self._lanes: dict[str | None, asyncio.Task[None]] = {}
        self._names: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._shutdown = asyncio.Event()
        self._ending: ConnectionExpired | ShuttingDown | None = None

    async def serve(self, headers: Headers) -> None:
        """Serve until the client is gone, the connection is too old or the server shuts down.

        In the last two cases the answers that are under way go out whole; messages that wait are refused.
        """
        await self._receive()  # websocket.connect
        await self._pass({"type": "websocket.accept", "headers": headers})
        reader, end = asyncio.create_task(self._read()), asyncio.create_task(self._until_ended())
        try:
            await asyncio.wait((reader, end), return_when=asyncio.FIRST_COMPLETED)
            for task in (reader, end):
                if task.done():
                    task.result()
        except asyncio.CancelledError:  # by the server, whose time to shut down is over
            await self._close(RESTARTS, str(ShuttingDown()))
        finally:
            left = {reader, end, *self._tasks}
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    async def _read(self) -> None:
        """Take messages until the client is gone."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.receive":
                text = message.get("text")
                await self._take(message.get("bytes") or b"" if text is None else text.encode())
            elif message.get("code") == RESTARTS and not self._shutdown.is_set():
                self._shutdown.set()  # how the server tells that it shuts down; the client is still there
            else:
                return

    async def _take(self, data: bytes) -> None:
        lane = None
        try:
            self._check(data)
            asked = self._channel.read(data)
            lane = asked.lane
            self._admit(lane)
        except Exception as error:  # noqa: BLE001  # nothing but an error of ours goes out
            await self._tell(error, lane)
            return
        self._free_bytes -= len(data)
        task = asyncio.create_task(self._in_turn(asked, len(data), self._lanes.get(lane)))
        self._lanes[lane] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check(self, data: bytes) -> None:
        if self._ending is not None:
            raise self._ending
        if len(data) > self._free_bytes or len(self._tasks) >= MAX_WAITING:
            raise TooManyMessages

    def _admit(self, lane: str | None) -> None:
        if lane is not None and lane not in self._names:
            if len(self._names) >= MAX_LANES:
                raise TooManyLanes(MAX_LANES)
            self._names.add(lane)

    async def _in_turn(self, asked: Asked, size: int, before: asyncio.Task[None] | None) -> None:
        """Answer a message when the one before it in its lane has been answered."""
        if before is not None:
            await asyncio.wait((before,))
        try:
            async with self._slots:
                self._free_bytes += size
                await self._answer(asked)
        except Exception as error:  # noqa: BLE001  # nothing but an error of ours goes out
            await self._tell(error, asked.lane)

    async def _answer(self, asked: Asked) -> None:
        if self._ending is not None:
            raise self._ending
        async with aclosing(self._channel.answer(asked)) as events:
            async for event in events:
                await self._pass({"type": "websocket.send", "text": event.decode()})

    async def _until_ended(self) -> None:
        """Wait until the connection is too old or the server shuts down, and for what runs then; close."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._shutdown.wait()
        except TimeoutError:
            self._ending = ConnectionExpired(self._seconds)
            await self._let_end()
            await self._tell(self._ending, None)
            await self._close(GOING_AWAY, "websocket_connection_limit_reached")
        else:
            self._ending = ShuttingDown()
            await self._let_end()
            await self._close(RESTARTS, str(self._ending))

    async def _let_end(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _tell(self, error: BaseException, lane: str | None) -> None:
        refusal = self._refuse(error)
        event = refused(refusal.body, refusal.status, refusal.headers, lane)
        await self._pass({"type": "websocket.send", "text": event})

    async def _close(self, code: int, reason: str) -> None:
        await self._pass({"type": "websocket.close", "code": code, "reason": reason})

    async def _pass(self, message: Message) -> None:
        """Send, waiting while the client does not keep up; into the void, if it is gone: the reader notices that."""
        try:
            await self._send(message)
        except OSError:  # how ASGI servers say it (ASGI 2.4)
            return
