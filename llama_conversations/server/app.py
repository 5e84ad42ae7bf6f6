"""The ASGI app: finds the route, reads the arguments, calls the implementation, sends what it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from llama_conversations.config.run_config import ServerConfig
from llama_conversations.errors import MethodNotAllowed, ShuttingDown, UpstreamError
from llama_conversations.log import get_logger
from llama_conversations.server.browsers import JSON, CorsApp, Origins
from llama_conversations.server.dispatch import RouteTable
from llama_conversations.server.documents import Document, documents
from llama_conversations.server.errors import Refusal, refusal_of
from llama_conversations.server.exchange import ClientGone, Exchange
from llama_conversations.server.routes import Answer, Route, bind
from llama_conversations.server.sse import PING_SECONDS, error_frame, send_events
from llama_conversations.wire.answers import Json

__all__ = ["build_app"]

log = get_logger(__name__)


def build_app(
    bindings: Sequence[tuple[type, object]], settings: ServerConfig, *, ping_seconds: float = PING_SECONDS
) -> ASGIApp:
    """The app that serves implementations under the routes of their protocols, and /openapi.json and /docs.

    Args:
        bindings: Each API's protocol and its implementation.
        settings: ``cors`` and ``limits`` are what counts here.
        ping_seconds: How long a stream of events may be silent before a comment is sent.

    Raises:
        TypeError: An implementation does not fit its protocol.
        ValueError: Two methods have the same route.
    """
    routes = [route for protocol, implementation in bindings for route in bind(protocol, implementation)]
    app = _App(routes, settings, ping_seconds)
    return app if settings.cors is None else CorsApp(app, settings.cors)


class _App:
    def __init__(self, routes: Sequence[Route], settings: ServerConfig, ping_seconds: float) -> None:
        self._max_body_bytes = settings.limits.max_body_bytes
        self._origins = Origins(settings.cors)
        self._ping_seconds = ping_seconds
        self._table: RouteTable[Route | Document] = RouteTable()
        for route in routes:
            self._table.add(route.webmethod.method, route.webmethod.path, route)
        for document in documents(routes):
            self._table.add("GET", document.path, document)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _no_http(scope["type"], receive, send)
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

    async def _serve(self, exchange: Exchange, route: Route, segments: Sequence[str]) -> None:
        arguments = route.parameters.arguments(segments, exchange.scope["query_string"])
        body = route.parameters.body
        if body is not None:
            arguments[body.name] = body.parse(await exchange.read_body(self._max_body_bytes))
        if route.streams:
            await self._serve_watched(exchange, route, arguments)
        else:
            await _send_json(exchange, await route.call(**arguments))

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


async def _unless_gone(gone: asyncio.Task[None], work: asyncio.Future[Answer]) -> Answer:
    try:
        await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientGone
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
            if not work.cancelled():
                work.exception()  # taken note of here, lest asyncio report it as never retrieved


async def _send_json(exchange: Exchange, answer: Answer) -> None:
    if not isinstance(answer, Json):
        raise TypeError(f"a route that is not declared to stream answered with {type(answer).__name__}")
    await exchange.send_whole(200, JSON, answer.body)


async def _refuse(exchange: Exchange, error: BaseException, api: type | None) -> None:
    """Answer with an error; in a stream that has begun, end it with one."""
    if isinstance(error, MethodNotAllowed) and exchange.method == "OPTIONS":
        await exchange.send_nothing({"allow": ", ".join(error.allowed)})
        return
    refusal = refusal_of(error, exchange.request_id, api)
    _log_refusal(exchange, refusal, error)
    try:
        if exchange.status is None:
            await exchange.send_whole(refusal.status, JSON, refusal.body, refusal.headers)
        elif exchange.streaming:
            await exchange.end_stream(error_frame(refusal))
    except ClientGone:
        log.debug("%s: the client is gone", exchange.request_id)


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


async def _no_http(kind: str, receive: Receive, send: Send) -> None:
    """There are no WebSockets here, and nothing to do when a server starts or stops."""
    if kind == "websocket":
        await send({"type": "websocket.close"})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
