"""An OpenAI client that talks to an app of the same process, without a socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import httpx2
from openai import AsyncOpenAI
from starlette.types import ASGIApp, Message, Scope

__all__ = ["InProcessTransport", "in_process_client"]

BASE_URL = "http://stack.in-process/v1"
API_KEY = "in-process"

MAX_PENDING_MESSAGES = 64
"""How far the app may run ahead of a client that reads a stream."""


def in_process_client(app: ASGIApp, base_url: str = BASE_URL, api_key: str = API_KEY) -> AsyncOpenAI:
    """A client of the app. Close it when done (``async with``): requests that still run are cancelled then.

    It behaves as one over a socket does: streams arrive event by event, and closing one early is a client hanging up.
    Time-outs do not apply.
    """
    http_client = httpx2.AsyncClient(transport=InProcessTransport(app), base_url=base_url)
    return AsyncOpenAI(api_key=api_key, base_url=base_url, http_client=http_client)


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Calls an ASGI app for each request; unlike httpx's own, it passes the answer on while it is made."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Call the app, and return when it begins to answer.

        Raises:
            Exception: What the app raised before that.
        """
        call = _Call(await request.aread())
        task = asyncio.create_task(self._run(_scope(request), call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(call.finished)
        try:
            status, headers = await call.begun(task)
        except BaseException:
            call.hang_up()
            raise
        return httpx2.Response(status, headers=headers, stream=_Body(call, task))

    async def _run(self, scope: Scope, call: _Call) -> None:
        await self._app(scope, call.receive, call.send)

    async def aclose(self) -> None:
        """Cancel the requests that still run."""
        if running := set(self._running):
            for task in running:
                task.cancel()
            await asyncio.wait(running)


def _scope(request: httpx2.Request) -> Scope:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,
        "server": (url.host, url.port),
    }


class _Call:
    """One request on its way through the app."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._begun: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._parts: deque[bytes] = deque()
        self._ended = False
        self._hung_up = asyncio.Event()
        self._news = asyncio.Event()  # for the client: the app has sent something, or is finished
        self._room = asyncio.Event()  # for the app: the client has read something, or has hung up

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        while len(self._parts) >= MAX_PENDING_MESSAGES and not self._hung_up.is_set():
            self._room.clear()
            await self._room.wait()
        if message["type"] == "http.response.start":
            self._begun = (message["status"], list(message.get("headers", ())))
        else:
            if body := message.get("body", b""):
                self._parts.append(body)
            if not message.get("more_body", False):
                self._ended = True
                self._hung_up.set()  # as servers do: after the answer, receive() says disconnect
        self._news.set()

    def finished(self, _: object = None) -> None:
        """The app has returned."""
        self._news.set()

    def hang_up(self) -> None:
        """The client reads no more."""
        self._hung_up.set()
        self._room.set()

    async def begun(self, task: asyncio.Task[None]) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers."""
        while self._begun is None:
            if task.done():
                task.result()
                raise httpx2.RemoteProtocolError("The app ended without an answer.")
            await self._wait()
        return self._begun

    async def parts(self, task: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """The body as it comes."""
        while True:
            while self._parts:
                part = self._parts.popleft()
                self._room.set()
                yield part
            if self._ended:
                return
            if task.done():
                raise httpx2.RemoteProtocolError("The app ended in the middle of its answer.")
            await self._wait()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


class _Body(httpx2.AsyncByteStream):
    """The answer's body; closing it before its end hangs up."""

    def __init__(self, call: _Call, task: asyncio.Task[None]) -> None:
        self._call = call
        self._task = task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._call.parts(self._task):
            yield part

    async def aclose(self) -> None:
        self._call.hang_up()
        if not self._task.done():
            await asyncio.wait((self._task,))
