"""What stands before the protocol: the journal, the doorkeeper, the faults, and the servers of both eras."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs

from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import JSONRPCMessage
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from scripted_mcp.faults import FAULTS, Question
from scripted_mcp.journal import Entry, Journal
from scripted_mcp.tools import tool_server

GOOD_TOKEN = "token-of-the-tests"
GOOD_TENANT = "tenant-of-the-tests"

MODERN_ONLY = "server/discover"


class EventMemory(EventStore):
    """Keeps the events of every stream, so that a stream can be resumed."""

    def __init__(self) -> None:
        self._events: list[tuple[StreamId, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        last = int(last_event_id)
        stream_id = self._events[last - 1][0]
        for number, (of, message) in enumerate(self._events[last:], start=last + 1):
            if of == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


class Front:
    """The ASGI application below ``/mcp``; the words of the address say how it behaves.

    era: ``both``, or ``legacy`` for a server that knows nothing since 2025-11-25.
    answers: ``events``, or ``json``.
    sessions: ``kept``, or ``none``.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._managers = {
            (answers, sessions): StreamableHTTPSessionManager(
                app=tool_server(journal),
                json_response=answers == "json",
                stateless=sessions == "none",
                event_store=EventMemory() if (answers, sessions) == ("events", "kept") else None,
                retry_interval=10,
            )
            for answers in ("events", "json")
            for sessions in ("kept", "none")
        }

    def managers(self) -> Iterator[StreamableHTTPSessionManager]:
        """Those that have to run."""
        yield from self._managers.values()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        options = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        body = await _read(receive)
        message = json.loads(body) if body else {}
        method = message.get("method", "")
        headers = dict(Headers(scope=scope))
        self._journal.entries.append(Entry(options.get("tag", ""), scope["method"], method, headers))
        self._journal.note()
        replayed = _replay(body, receive)
        if (refusal := _doorkeeper(options, headers)) is not None:
            await refusal(scope, replayed, send)
        elif "fault" in options and options.get("on", method) in (method, scope["method"]):
            await FAULTS[options["fault"]](Question(scope, receive, send, message.get("id")))
        elif options.get("era") == "legacy" and method == MODERN_ONLY:
            await _unknown_to_older_servers(scope, replayed, send)
        else:
            manager = self._managers[options.get("answers", "events"), options.get("sessions", "kept")]
            await manager.handle_request(scope, replayed, send)


def _doorkeeper(options: Mapping[str, str], headers: Mapping[str, str]) -> JSONResponse | None:
    match options.get("require"):
        case "bearer" if headers.get("authorization") != f"Bearer {GOOD_TOKEN}":
            return JSONResponse({"error": "invalid_token"}, 401, {"www-authenticate": "Bearer"})
        case "header" if headers.get("x-tenant") != GOOD_TENANT:
            return JSONResponse({"detail": "no tenant"}, 403)
    return None


async def _unknown_to_older_servers(scope: Scope, receive: Receive, send: Send) -> None:
    """As servers of the ``mcp`` package 1.x answer to what is not ``initialize``."""
    error = {"code": -32600, "message": "Bad Request: Missing session ID"}
    await JSONResponse({"jsonrpc": "2.0", "id": "server-error", "error": error}, 400)(scope, receive, send)


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """The request once more, for who comes after us."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
