"""Serving an app on a port, with uvicorn, until a signal comes."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from llama_conversations.errors import StackError
from llama_conversations.log import get_logger
from llama_conversations.server.accepting import Acceptor
from llama_conversations.server.browsers import LocalNames
from llama_conversations.server.http_protocol import HttpProtocol

__all__ = ["AT_ONCE", "CannotListen", "listen", "new_event_loop", "serve"]

log = get_logger(__name__)

MAX_PORT = 65535

BACKLOG = 65_535
"""Connections that may wait to be accepted: as many as the system lets (on Linux ``net.core.somaxconn``, 4,096). A
client that finds no place there tries again after one second, then three, and is served late or reset."""

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection (httpx 5 s, aiohttp 15 s, nginx 60 s), so that they are who closes it."""

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Of a WebSocket, unless the caller says otherwise."""

PING_SECONDS = 20.0
"""How often a WebSocket's client is asked whether it is there, and how long it may take to say so."""

CANCEL_SECONDS = 5
"""How long a request that is cancelled may take to end."""


AT_ONCE = 2
"""How many signals say that nothing is to be waited for; further ones change nothing."""


class CannotListen(StackError):
    """The address cannot be listened on: its port is in use, or not ours to use, or the host is not of this machine."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"Cannot listen on {host} port {port}: {reason}.")
        self.host, self.port, self.reason = host, port, reason


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop to serve on: uvloop's where it is installed. Fit for ``asyncio.Runner(loop_factory=…)``."""
    try:
        import uvloop  # not available on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def serve(  # noqa: PLR0913  (all but the app are named by whoever calls it)
    app: ASGIApp,
    *,
    host: str,
    port: int,
    shutdown_timeout: float,
    listener: socket.socket | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    on_started: Callable[[int], None] | None = None,
    on_signal: Callable[[int], None] | None = None,
    release_signals: bool = True,
) -> None:
    """Serve until SIGINT or SIGTERM. Then take no more connections, let the running requests end, and return.

    A second signal cancels the running requests. Signals are listened to in the main thread only; cancelling the task
    that runs this closes the server at once. On a loopback address, requests that call the machine by a name other
    than its own ones are refused.

    Args:
        port: 0 for any that is free.
        shutdown_timeout: Seconds that running requests may take to end before they are cancelled.
        listener: What ``listen`` gave for this host and port, where several processes share it.
        max_message_bytes: Largest message of a WebSocket; a larger one closes it (1009).
        on_started: Called with the real port when requests are being served.
        on_signal: Called at the first signal and at the second with which it is, while running requests still wait for
            their answers.
        release_signals: Whether signals mean again what they did before when it returns. If not, ``on_signal`` is told
            of them for as long as the loop runs: who still closes something is not killed by a second one.

    Raises:
        CannotListen: The address cannot be listened on.
    """
    is_shared = listener is not None
    listener = listener or listen(host, port)
    if ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        app = LocalNames(app, host)
    server = _Server(_config(app, shutdown_timeout, max_message_bytes), listener, on_started, on_signal)
    server.release_signals, server.shares_listener = release_signals, is_shared
    try:
        await server.serve(sockets=[listener])
    finally:
        await server.close()


def _config(app: ASGIApp, shutdown_timeout: float, max_message_bytes: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=_web_socket,  # type: ignore[arg-type]  # called like the class that uvicorn declares it to be
        ws_max_size=max_message_bytes,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,  # it would cost more, for each of many small messages, than it saves
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(shutdown_timeout),
        reset_contextvars=True,  # a request must not inherit whose request was served before it
    )


def _web_socket(**connection: object) -> asyncio.Protocol:
    """A WebSocket's protocol; imported when the first one is opened, for most servers never see one."""
    from llama_conversations.server.websocket_protocol import WebSocketProtocol

    return WebSocketProtocol(**connection)  # type: ignore[arg-type]  # uvicorn knows what it gives


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, for ``serve``. Errors: ``CannotListen``."""
    if not 0 <= port <= MAX_PORT:
        raise CannotListen(host, port, f"a port is a number from 0 to {MAX_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise CannotListen(host, port, reason[:1].lower() + reason[1:]) from error


def _settle_memory() -> None:
    """What was made up to now lives as long as the process: the garbage collector need not look at it ever again.

    Otherwise each of its full runs would stop the server for as long as it takes to look at all modules and models.
    """
    gc.freeze()


class _Server(uvicorn.Server):
    """uvicorn's server, without its way to end: it raises the signals once more after it has drained."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        on_started: Callable[[int], None] | None,
        on_signal: Callable[[int], None] | None,
    ) -> None:
        super().__init__(config)
        self.release_signals, self.shares_listener = True, False
        self._listener = listener
        self._on_started, self._on_signal = on_started, on_signal
        self._acceptor: Acceptor | None = None
        self._signals = 0
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio's own loops accept all that wait, and on Windows they watch no socket for others
        is_their_own = isinstance(self._loop, asyncio.BaseEventLoop) and not self.shares_listener
        await super().startup(sockets if is_their_own else [])
        if not is_their_own:
            self._acceptor = Acceptor(self._listener, self._new_protocol, shared=self.shares_listener)
            self.servers.append(self._acceptor)  # type: ignore[arg-type]  # all that is asked of a server
        _settle_memory()
        if self._on_started is not None:
            self._on_started(self._listener.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor is not None:  # who was just accepted must be among the connections that are told
            self._acceptor.close()
            await self._acceptor.wait_closed()
        await super().shutdown(sockets)

    def _new_protocol(self) -> asyncio.Protocol:
        return HttpProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items() if self.release_signals else ():
                signal.signal(number, handler)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        self._signals += 1
        if self._signals > AT_ONCE:
            return
        if self._on_signal is not None:
            self._on_signal(self._signals)
        if self._signals < AT_ONCE:
            log.info("%s: shutting down; once more to stop at once", name)
            self.should_exit = True
        else:
            log.warning("%s again: cancelling the running requests", name)
            self.force_exit = True
            self._cancel_requests()

    def _cancel_requests(self) -> set[asyncio.Task[None]]:
        tasks = set(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        return tasks

    async def close(self) -> None:
        """End what is left, which after an orderly end is nothing."""
        for server in self.servers if self.started else ():
            server.close()
        self._listener.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        if tasks := self._cancel_requests():
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
