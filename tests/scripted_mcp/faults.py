"""What a server can get wrong below the level of its tools; chosen by ``fault`` in its address."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send


class Dropped(Exception):
    """The connection is closed by raising this: the web server has no other way to do it."""


@dataclass(frozen=True)
class Question:
    """A request that goes wrong. ``rpc_id`` is its JSON-RPC id."""

    scope: Scope
    receive: Receive
    send: Send
    rpc_id: object

    async def begin(self, status: int, content_type: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the head of an answer."""
        all_headers = [("content-type", content_type), *headers]
        raw = [(name.encode(), value.encode()) for name, value in all_headers]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, body: bytes, *, last: bool = False) -> None:
        """Send a piece of its body."""
        await self.send({"type": "http.response.body", "body": body, "more_body": not last})

    async def answer(
        self, body: bytes, content_type: str = "application/json", status: int = 200, *headers: tuple[str, str]
    ) -> None:
        """Send a whole answer."""
        await self.begin(status, content_type, [("content-length", str(len(body))), *headers])
        await self.write(body, last=True)

    async def until_disconnected(self) -> None:
        """Wait until the client has had enough."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def option(self, name: str) -> str:
        """A word of the address."""
        return parse_qs(self.scope["query_string"].decode())[name][0]

    def header(self, name: str) -> str:
        """One of the request's headers."""
        return dict(self.scope["headers"])[name.encode()].decode()


def _message(rpc_id: object, **what: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": rpc_id, **what}).encode()


async def _status(question: Question) -> None:
    await question.answer(b"<h1>no</h1>", "text/html", int(question.option("status")))


async def _gateway_error(question: Question) -> None:
    await question.answer(b'{"error": {"message": "quota"}}', "application/json", 429)


async def _html(question: Question) -> None:
    await question.answer(b"<h1>Welcome</h1>", "text/html")


async def _not_json(question: Question) -> None:
    await question.answer(b"oops{")


async def _not_jsonrpc(question: Question) -> None:
    await question.answer(b'{"hello": "world"}')


async def _wrong_id(question: Question) -> None:
    await question.answer(_message(999, result={"content": []}))


async def _wrong_result(question: Question) -> None:
    await question.answer(_message(question.rpc_id, result={"tools": 5, "content": 5}))


async def _error_without_id(question: Question) -> None:
    await question.answer(_message(None, error={"code": -32007, "message": "who are you?"}))


async def _error_with_credentials(question: Question) -> None:
    words = f"bad token {question.header('authorization')} at {question.option('own_url')}"
    await question.answer(_message(question.rpc_id, error={"code": -32001, "message": words}), status=401)


async def _other_version(question: Question) -> None:
    server = {"capabilities": {}, "serverInfo": {"name": "other", "version": "1"}}
    versions = {"protocolVersion": question.option("version"), "supportedVersions": [question.option("version")]}
    await question.answer(_message(question.rpc_id, result={"ttlMs": 0, "cacheScope": "public", **server, **versions}))


async def _wrong_event(question: Question) -> None:
    await question.answer(b"event: message\ndata: oops{\n\n", "text/event-stream")


async def _empty_stream(question: Question) -> None:
    await question.answer(b": nothing\n\n", "text/event-stream")


async def _accepted(question: Question) -> None:
    await question.answer(b"", status=202)


async def _compressed(question: Question) -> None:
    body = gzip.compress(_message(question.rpc_id, result={"content": []}))
    await question.answer(body, "application/json", 200, ("content-encoding", "gzip"))


async def _huge(question: Question) -> None:
    await question.answer(_message(question.rpc_id, result={"content": [], "padding": "x" * 3_000_000}))


async def _huge_stream(question: Question) -> None:
    gone = asyncio.create_task(question.until_disconnected())
    await question.begin(200, "text/event-stream")
    while not gone.done():
        await question.write(b": " + b"x" * 10_000 + b"\n\n")
        await asyncio.sleep(0)


async def _cut(question: Question) -> None:
    await question.begin(200, "application/json", [("content-length", "1000")])
    await question.write(b'{"jsonrpc"')
    raise Dropped


async def _cut_stream(question: Question) -> None:
    await question.begin(200, "text/event-stream")
    await question.write(b": so far so good\n\n")
    raise Dropped


async def _hang(question: Question) -> None:
    await question.until_disconnected()


async def _hang_stream(question: Question) -> None:
    await question.begin(200, "text/event-stream")
    await question.write(b": wait\n\n")
    await question.until_disconnected()


async def _redirect(question: Question) -> None:
    location = question.option("to")
    await question.answer(b"", "text/plain", int(question.option("status")), ("location", location))


async def _redirect_to_itself(question: Question) -> None:
    location = f"{question.scope['path']}?{question.scope['query_string'].decode()}"
    await question.answer(b"", "text/plain", 307, ("location", location))


Fault = Callable[[Question], Awaitable[None]]

FAULTS: dict[str, Fault] = {
    "status": _status,
    "gateway-error": _gateway_error,
    "html": _html,
    "not-json": _not_json,
    "not-jsonrpc": _not_jsonrpc,
    "wrong-id": _wrong_id,
    "wrong-result": _wrong_result,
    "error-without-id": _error_without_id,
    "error-with-credentials": _error_with_credentials,
    "other-version": _other_version,
    "wrong-event": _wrong_event,
    "empty-stream": _empty_stream,
    "accepted": _accepted,
    "compressed": _compressed,
    "huge": _huge,
    "huge-stream": _huge_stream,
    "cut": _cut,
    "cut-stream": _cut_stream,
    "hang": _hang,
    "hang-stream": _hang_stream,
    "redirect": _redirect,
    "redirect-to-itself": _redirect_to_itself,
}
