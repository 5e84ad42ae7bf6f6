"""Accepting connections: all that wait, or where several processes share a socket, each its part.

Done here, since uvloop (libuv 1.52) accepts one connection in each turn of its loop: of a thousand clients that
connected to a busy server at once, the last ones waited for five seconds, and those that found no place in the queue
were reset.

Where a socket is shared, whoever is awake first would take most of a burst (measured: 32 to 58 of 64, with four
processes), since the operating system gives a waiting connection to whoever asks for it. So a process that has accepted
one leaves the socket to the others for a moment. A connection that nobody has accepted belongs to no process: none is
lost when one dies, as would be with a queue for each (``SO_REUSEPORT``).
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from llama_conversations.log import get_logger

log = get_logger(__name__)

MOST_AT_ONCE = 256
"""How many are accepted in one turn of the event loop."""

PAUSE_SECONDS = 0.001
"""How long the others have."""

SINGLE_ROUNDS = 16
"""How often in a row one connection is accepted at a time. If more still wait, nobody has the time to take them: then
it is two at a time, then three, so that the pauses do not bound clients that connect for each request."""

OUT_OF_RESOURCES_SECONDS = 1.0
"""How long to wait where no more connections can be open."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts connections until it is closed; used on the loop that it is made on.

    It is what ``asyncio.Server`` is to uvicorn, which closes it and waits for that.

    Args:
        shared: Whether other processes accept from the same socket.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], *, shared: bool) -> None:
        self._listener, self._protocol, self._shared = listener, protocol, shared
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._rounds = 0
        listener.setblocking(False)
        self._look()

    def close(self) -> None:
        """Accept no more."""
        if not self._is_closed:
            self._is_closed = True
            self._look_away()
            if self._pause is not None:
                self._pause.cancel()

    async def wait_closed(self) -> None:
        """Wait until all that were accepted have their protocol."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _look(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _look_away(self) -> None:
        self._loop.remove_reader(self._listener.fileno())

    def _look_again_after(self, seconds: float) -> None:
        self._look_away()
        self._pause = self._loop.call_later(seconds, self._look)

    def _accept(self) -> None:
        for place in range(1 + self._rounds // SINGLE_ROUNDS if self._shared else MOST_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._rounds = 0  # another process was faster, or the client has gone
                if place == 0:
                    return
                break
            except OSError as error:
                self._fail(error)
                return
            task = self._loop.create_task(self._begin(connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)
        else:
            self._rounds += 1
        if self._shared:
            self._look_again_after(PAUSE_SECONDS)

    def _fail(self, error: OSError) -> None:
        if error.errno not in _OUT_OF_RESOURCES:
            raise error
        log.error("no connection can be accepted: %s", error)
        self._look_again_after(OUT_OF_RESOURCES_SECONDS)

    async def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:  # the client has gone already
            connection.close()
            log.debug("a connection broke before it began: %s", error)
