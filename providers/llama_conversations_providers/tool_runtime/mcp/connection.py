"""Keeps the protocol's client alive in a task of its own.

The client is built of task groups that cancel the task which entered them. In a task that belongs to nobody else they
can do so without harm: a session can be opened in one task, used in several at once and closed in a third, and a
cancelled caller is free at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TypeVar

import httpx2
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Implementation

from llama_conversations.log import get_logger
from llama_conversations_providers.tool_runtime.mcp.headers import PRODUCT, VERSION
from llama_conversations_providers.tool_runtime.mcp.quiet import quietly

log = get_logger(__name__)

T = TypeVar("T")

FAREWELL_SECONDS = 2.0
"""How long a closing connection may take to cancel its calls and to tell the server that the session is over."""

_OURSELVES = Implementation(name=PRODUCT, version=VERSION)


class ConnectionLost(Exception):
    """The connection was closed while a call was waiting, or before."""


class UncheckedSession(ClientSession):
    """A session that takes results as they are.

    The original holds them against the schema that the server gave, in the event loop, where a pattern in that schema
    can take for ever.
    """

    async def validate_tool_result(self, name: str, result: CallToolResult) -> None:
        """Nothing to do."""


class Connection:
    """A session with a tool server; of use in any task of the loop.

    Args:
        client: Sends the requests; closed with the connection.
        url: The server's address.
        shake_hands: Opens the session in the terms of the protocol.
    """

    def __init__(
        self, client: httpx2.AsyncClient, url: str, shake_hands: Callable[[ClientSession], Awaitable[None]]
    ) -> None:
        self._client, self._url, self._shake_hands = client, url, shake_hands
        self._session: ClientSession | None = None
        self._failure: Exception | None = None
        self._settled, self._closing = asyncio.Event(), asyncio.Event()
        self._calls: set[asyncio.Task[object]] = set()
        self._task = asyncio.create_task(quietly(self._live))
        self._task.add_done_callback(self._ended)

    async def open(self, seconds: float) -> None:
        """Wait until the session is open.

        Errors: whatever the handshake ended in; ``ConnectionLost``; ``TimeoutError``.
        """
        async with asyncio.timeout(seconds):
            await self._settled.wait()
        if self._failure is not None:
            raise self._failure
        if self._session is None:
            raise ConnectionLost

    async def run(self, work: Callable[[ClientSession], Coroutine[object, object, T]], seconds: float) -> T:
        """Do something with the session, several such at once if need be. The server is told if it is cancelled.

        Errors: whatever it ends in; ``ConnectionLost``; ``TimeoutError``.
        """
        if self._session is None or self._closing.is_set():
            raise ConnectionLost
        task = asyncio.create_task(quietly(partial(work, self._session)))
        self._calls.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()  # where it is not done: it says so to the server, which nobody waits for
        if not task.done():
            raise TimeoutError
        if task.cancelled():
            raise ConnectionLost
        return task.result()

    def close(self) -> None:
        """Begin to close; it is over within ``FAREWELL_SECONDS``."""
        if self._closing.is_set():
            return
        self._closing.set()
        if not self._settled.is_set():
            self._task.cancel()
        end = asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._task.cancel)
        self._task.add_done_callback(lambda _: end.cancel())

    async def wait_closed(self) -> None:
        """Wait until nothing of it is left."""
        await asyncio.wait({self._task, *self._calls})

    def on_closed(self, then: Callable[[], None]) -> None:
        """What to do once it is over."""
        self._task.add_done_callback(lambda _: then())

    async def _live(self) -> None:
        async with (
            self._client,
            streamable_http_client(self._url, http_client=self._client, max_sse_event_size=None) as (
                incoming,
                outgoing,
            ),
            UncheckedSession(incoming, outgoing, client_info=_OURSELVES) as session,
        ):
            try:
                await self._shake_hands(session)
            except Exception as error:  # noqa: BLE001 whoever opens the session gets it
                self._failure = error
                self._settled.set()
                return
            self._session = session
            self._settled.set()
            await self._closing.wait()
            await self._end_calls()

    async def _end_calls(self) -> None:
        calls = set(self._calls)
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._session = None
        self._settled.set()
        self._closing.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a tool server's connection broke down: %s", ", ".join(_kinds(error)))

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; whoever was cancelled does not want it


def _kinds(error: BaseException) -> list[str]:
    """Types alone: the words of an unforeseen error may hold anything."""
    if isinstance(error, BaseExceptionGroup):
        return [kind for inner in error.exceptions for kind in _kinds(inner)]
    return [type(error).__name__]
