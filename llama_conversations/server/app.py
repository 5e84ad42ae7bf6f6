"""The ASGI app: finds the route, reads the arguments, calls the implementation, sends what it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from llama_conversations.apis.catalog import Inspect
from llama_conversations.apis.responses import Responses
from llama_conversations.config.run_config import ServerConfig
from llama_conversations.errors import MethodNotAllowed, ShuttingDown, UpstreamError
from llama_conversations.log import get_logger
from llama_conversations.server.browsers import JSON, Origins
from llama_conversations.server.dispatch import RouteTable
from llama_conversations.server.documents import Document, documents
from llama_conversations.server.errors import Refusal, refusal_of
from llama_conversations.server.exchange import ClientGone, Exchange, api_headers
from llama_conversations.server.idempotency import REPLAYED, RouteWork, key_of, keyed_request
from llama_conversations.server.room import Room
from llama_conversations.server.routes import Answer, Route, SocketRoute, bind, bind_sockets
from llama_conversations.server.sse import HEADERS, PING_SECONDS, error_frame, send_events
from llama_conversations.server.websocket import Socket
from llama_conversations.services.idempotency import IdempotencyKeys
from llama_conversations.wire.answers import Json

__all__ = ["build_app"]

log = get_logger(__name__)

T = TypeVar("T")


def build_app(
    bindings: Sequence[tuple[type, object]],
    settings: ServerConfig,
    keys: Mapping[type, IdempotencyKeys] | None = None,
    *,
    ping_seconds: float = PING_SECONDS,
) -> ASGIApp:
    """The app that serves implementations under the routes of their protocols, and /openapi.json and /docs.

    Args:
        bindings: Each API's protocol and its implementation.
        settings: ``cors`` and ``limits`` are what counts here.
        keys: By protocol, the idempotency keys of its requests; without, the header is ignored.
        ping_seconds: How long a stream of events may be silent before a comment is sent.

    Raises:
        TypeError: An implementation does not fit its protocol.
        ValueError: Two methods have the same route.
    """
    routes = [route for protocol, implementation in bindings for route in bind(protocol, implementation)]
    sockets = [socket for protocol, implementation in bindings for socket in bind_sockets(protocol, implementation)]
    responses = next((cast("Responses", found) for protocol, found in bindings if protocol is Responses), None)
    app = _App(routes, sockets, settings, _Keys(keys or {}, responses), ping_seconds)
    if settings.cors is None:
        return app
    from llama_conversations.server.cors import CorsApp  # imports what is needed for this alone

    return CorsApp(app, settings.cors)


@dataclass(frozen=True)
class _Keys:
    """What requests with idempotency keys need."""

    by_protocol: Mapping[type, IdempotencyKeys]
    responses: Responses | None


class _App:
    def __init__(
        self,
        routes: Sequence[Route],
        sockets: Sequence[SocketRoute],
        settings: ServerConfig,
        keys: _Keys,
        ping_seconds: float,
    ) -> None:
        self._keys = keys
        self._max_body_bytes = settings.limits.max_body_bytes
        self._room = Room(settings.limits.max_concurrent_requests)
        self._socket_seconds = settings.limits.websocket_seconds
        self._origins = Origins(settings.cors)
        self._ping_seconds = ping_seconds
        self._table: RouteTable[Route | Document] = RouteTable()
        for route in routes:
            self._table.add(route.webmethod.method, route.webmethod.path, route)
        for document in documents(routes):
            self._table.add("GET", document.path, document)
        self._sockets: RouteTable[SocketRoute] = RouteTable()
        for socket in sockets:
            self._sockets.add("GET", socket.path, socket)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await (self._connect if scope["type"] == "websocket" else _live)(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        api: type | None = None
        try:
            if exchange.method == "POST":
                self._origins.check(scope["headers"])
            target, segments = self._table.find(exchange.method, exchange.path, exchange.raw_path)
            if isinstance(target, Route):
                api = target.protocol
                await self._serve(exchange, target, segments)
            else:
                await exchange.send_whole(200, target.content_type, await target.content(), target.headers)
        except ClientGone:
            log.debug("%s: the client is gone", exchange.request_id)
        except asyncio.CancelledError:  # by the server, whose time to shut down is over
            await _refuse(exchange, ShuttingDown(), api)
        except Exception as error:  # noqa: BLE001  # nothing but an error of ours goes out
            await _refuse(exchange, error, api)
        if log.isEnabledFor(logging.DEBUG):
            line = (exchange.method, exchange.raw_path.decode("latin-1"), exchange.status, exchange.milliseconds)
            log.debug("%s: %s %s %s in %s ms", exchange.request_id, *line)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            self._origins.check(scope["headers"])  # browsers do not ask before they connect
            route, _ = self._sockets.find("GET", exchange.path, exchange.raw_path)
        except Exception as error:  # noqa: BLE001  # nothing but an error of ours goes out
            await _refuse(exchange, error, None)
            return
        refuse = partial(_refusal, exchange, api=route.protocol)
        socket = Socket(receive, send, route.connect(), refuse, self._max_body_bytes, self._socket_seconds)
        await socket.serve(api_headers(exchange.request_id, exchange.milliseconds))

    async def _serve(self, exchange: Exchange, route: Route, segments: Sequence[str]) -> None:
        if exchange.method == "POST" and (keys := self._keys.by_protocol.get(route.protocol)) is not None:
            key = key_of(exchange)
            if key is not None:
                await self._serve_once(exchange, route, segments, keys, key)
                return
        arguments = route.parameters.arguments(segments, exchange.scope["query_string"])
        body = route.parameters.body
        if body is not None:
            arguments[body.name] = body.parse(await exchange.read_body(self._max_body_bytes))
        if route.streams:
            await self._serve_watched(exchange, route, arguments)
        elif route.protocol is Inspect:  # whether the server is well can be asked always
            await _send_json(exchange, await route.call(**arguments))
        else:
            with self._room:  # taken when the body is there: a slow client takes none
                answer = await route.call(**arguments)
            await _send_json(exchange, answer)

    async def _serve_once(
        self, exchange: Exchange, route: Route, segments: Sequence[str], keys: IdempotencyKeys, key: str
    ) -> None:
        """Serve a request with an idempotency key: it goes on without its client, and is answered as it was before."""
        body = await exchange.read_body(self._max_body_bytes)
        refuse = partial(_refusal, exchange, api=route.protocol)
        query = exchange.scope["query_string"]
        work = RouteWork(route, segments, query, body, key, refuse, self._keys.responses)
        recording, is_first = keys.follow(keyed_request(exchange, key, body), work)
        gone = asyncio.create_task(exchange.until_gone())
        try:
            whole = await _unless_gone(gone, asyncio.ensure_future(recording.whole()))
            replayed = REPLAYED if recording.replayed or not is_first else {}
            if whole is None:
                headers = {**HEADERS, **replayed}
                await send_events(exchange, recording.frames(), gone, self._ping_seconds, headers)
            else:
                await exchange.send_whole(whole.status, JSON, whole.body, {**whole.headers, **replayed})
        finally:
            gone.cancel()

    async def _serve_watched(self, exchange: Exchange, route: Route, arguments: dict[str, object]) -> None:
        """Serve a route whose answer may take long: the work is cancelled when the client hangs up."""
        gone = asyncio.create_task(exchange.until_gone())
        try:
            answer = await _unless_gone(gone, asyncio.ensure_future(route.call(**arguments)))
            if isinstance(answer, Json):
                await _send_json(exchange, answer)
            else:
                await send_events(exchange, answer.frames, gone, self._ping_seconds)
        finally:
            gone.cancel()


async def _unless_gone(gone: asyncio.Task[None], work: asyncio.Future[T]) -> T:
    """What comes of the work. Errors: ``ClientGone``; those of the work.

    If the server ends the request, the work is cancelled, and what came of it all the same is told.
    """
    try:
        await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        work.cancel()
        await asyncio.wait((work,))
    if work.done():
        return work.result()
    work.cancel()
    await asyncio.wait((work,))
    if not work.cancelled():
        work.exception()  # taken note of here, lest asyncio report it as never retrieved
    raise ClientGone


async def _send_json(exchange: Exchange, answer: Answer) -> None:
    if not isinstance(answer, Json):
        raise TypeError(f"a route that is not declared to stream answered with {type(answer).__name__}")
    await exchange.send_whole(200, JSON, answer.body, answer.headers)


async def _refuse(exchange: Exchange, error: BaseException, api: type | None) -> None:
    """Answer with an error; in a stream that has begun, end it with one."""
    if isinstance(error, MethodNotAllowed) and exchange.method == "OPTIONS":
        await exchange.send_nothing({"allow": ", ".join(error.allowed)})
        return
    refusal = _refusal(exchange, error, api)
    try:
        if exchange.status is None:
            await exchange.send_whole(refusal.status, JSON, refusal.body, refusal.headers)
        elif exchange.streaming:
            await exchange.end_stream(error_frame(refusal))
    except ClientGone:
        log.debug("%s: the client is gone", exchange.request_id)


def _refusal(exchange: Exchange, error: BaseException, api: type | None) -> Refusal:
    """What is told of an error; it is logged, too."""
    refusal = refusal_of(error, exchange.request_id, api)
    _log_refusal(exchange, refusal, error)
    return refusal


def _log_refusal(exchange: Exchange, refusal: Refusal, error: BaseException) -> None:
    ours_to_mend = refusal.status >= 500 or isinstance(error, UpstreamError)
    level = logging.WARNING if ours_to_mend else logging.DEBUG
    if refusal.expected and not log.isEnabledFor(level):
        return
    line = "%s: %s %s (client's id: %r): %d %s"
    facts = (
        exchange.request_id,
        exchange.method,
        exchange.raw_path.decode("latin-1"),
        exchange.header(b"x-client-request-id"),
        refusal.status,
        f"{type(error).__name__}: {error}" if refusal.expected else "an unforeseen error",
    )
    log.log(level if refusal.expected else logging.ERROR, line, *facts, exc_info=None if refusal.expected else error)


async def _live(_: Scope, receive: Receive, send: Send) -> None:
    """There is nothing to do when a server starts or stops."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
