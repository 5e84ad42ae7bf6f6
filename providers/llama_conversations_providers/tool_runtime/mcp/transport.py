"""Carries a session's HTTP requests; whatever goes wrong comes back as an answer of the protocol.

The protocol's own client ends a whole session, and the task that it lives in, when a request fails below the level of
the protocol. Here every such fault becomes a JSON-RPC error, so that it reaches the one call that it belongs to.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import cast

import httpcore2
import httpx2
import orjson

from llama_conversations_providers.tool_runtime.mcp.admission import Admission
from llama_conversations_providers.tool_runtime.mcp.config import McpConfig
from llama_conversations_providers.tool_runtime.mcp.faults import (
    FAULTS,
    NOT_OF_THE_PROTOCOL,
    FaultBox,
    in_words,
    refusal,
)
from llama_conversations_providers.tool_runtime.mcp.peer import Peer

JSON, EVENTS = "application/json", "text/event-stream"

_MAX_REDIRECTS = 3
_OF_THE_BODY = {"content-encoding", "content-length", "transfer-encoding"}
_FAULT_STATUS = 502  # one that the client reads the body of


class SessionTransport(httpx2.AsyncBaseTransport):
    """The way to one tool server.

    Args:
        pool: Makes the connections; closed with the transport.
        admission: Asked about every URL, those of redirects too.
        peer: Words its errors.
        config: The size of an answer, and the time-outs, to speak of them.
    """

    def __init__(
        self, pool: httpcore2.AsyncConnectionPool, admission: Admission, peer: Peer, config: McpConfig
    ) -> None:
        self._pool, self._admission, self._peer, self._config = pool, admission, peer, config
        self.faults = FaultBox()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """An answer, be it one that tells a fault."""
        if request.method == "GET" and "last-event-id" not in request.headers:
            return httpx2.Response(405)  # a stream for what the server says unasked: nobody here would listen
        try:
            return await self._send(request)
        except FAULTS as fault:
            return self._failure(fault)

    async def aclose(self) -> None:
        """Drop the connections."""
        await self._pool.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        for _ in range(_MAX_REDIRECTS + 1):
            self._admission.check_url(request.url)
            answer = await self._pool.handle_async_request(_outgoing(request))
            if answer.status not in {301, 302, 303, 307, 308}:
                return await self._received(request, answer)
            await answer.aclose()
            request = self._redirected(request, answer)
        raise self._peer.failed("it redirects in a circle")

    def _redirected(self, request: httpx2.Request, answer: httpcore2.Response) -> httpx2.Request:
        """The same request to another path of the same origin; credentials are meant for no other."""
        location = httpx2.Headers(answer.headers).get("location", "")
        try:
            url = request.url.join(location)
        except httpx2.InvalidURL:
            raise self._peer.failed(NOT_OF_THE_PROTOCOL) from None
        is_same_origin = (url.scheme, url.raw_host, url.port) == (
            request.url.scheme,
            request.url.raw_host,
            request.url.port,
        )
        if answer.status not in {307, 308} or not is_same_origin or url.userinfo:
            raise self._peer.failed(f"it redirects elsewhere (status {answer.status}), which is not followed")
        return httpx2.Request(
            request.method, url, headers=request.headers, content=request.content, extensions=request.extensions
        )

    async def _received(self, request: httpx2.Request, answer: httpcore2.Response) -> httpx2.Response:
        headers = httpx2.Headers(answer.headers)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if headers.get("content-encoding", "identity").lower() != "identity":
            await answer.aclose()
            raise self._peer.failed("its answer is compressed, which was not asked for")
        kept = [(name, value) for name, value in headers.multi_items() if name not in _OF_THE_BODY]
        if answer.status < 300 and kind == EVENTS:
            return httpx2.Response(answer.status, headers=kept, stream=_EventStream(answer, self))
        content = await self._read(answer)
        status = self._judge(request, answer.status, content if kind == JSON else b"")
        return httpx2.Response(status, headers=kept, content=content)

    async def _read(self, answer: httpcore2.Response) -> bytes:
        content = bytearray()
        try:
            async for piece in _pieces(answer):
                content += piece
                self.check_size(len(content))
        finally:
            await answer.aclose()
        return bytes(content)

    def check_size(self, size: int) -> None:
        """Errors: ``errors.ToolFailed`` for more bytes than an answer may have."""
        if size > self._config.max_response_bytes:
            raise self._peer.failed(f"its answer is longer than {self._config.max_response_bytes} bytes")

    def _judge(self, request: httpx2.Request, status: int, content: bytes) -> int:
        """The status to hand on: as it is, unless an error came under a status that says success.

        ``content`` is empty where it is not JSON. Errors: ``errors.ToolFailed`` for what is no answer to the request.
        """
        message = _json_object(content)
        is_error = _is_error(message)
        if status >= 300:
            if is_error:
                return status
            raise refusal(self._peer, status)
        asked = _json_object(request.content) if request.method == "POST" else {}
        if "id" not in asked or "method" not in asked:
            return status
        if is_error and message.get("id") is None:
            return _FAULT_STATUS  # so that the client takes it for the answer to this request
        if str(message.get("id")) != str(asked["id"]) or not (is_error or isinstance(message.get("result"), dict)):
            raise self._peer.failed(NOT_OF_THE_PROTOCOL)
        return status

    def _failure(self, fault: Exception) -> httpx2.Response:
        error = {"code": -32000, "message": self.describe(fault)}
        body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
        return httpx2.Response(_FAULT_STATUS, headers={"content-type": JSON}, content=body)

    def describe(self, fault: Exception) -> str:
        """The token of a fault, in the place of words."""
        return self.faults.keep(in_words(fault, self._peer, self._config.timeouts))


class _EventStream(httpx2.AsyncByteStream):
    """Events as they come, counted.

    That the connection ends is left to the client: it may resume. Any other fault is the end of it.
    """

    def __init__(self, answer: httpcore2.Response, transport: SessionTransport) -> None:
        self._answer, self._transport = answer, transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for piece in _pieces(self._answer):
                size += len(piece)
                self._transport.check_size(size)
                yield piece
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as fault:
            raise httpx2.ReadError("the connection ended") from fault
        except FAULTS as fault:
            raise httpx2.SSEError(self._transport.describe(fault)) from fault

    async def aclose(self) -> None:
        await self._answer.aclose()


def _outgoing(request: httpx2.Request) -> httpcore2.Request:
    url = request.url
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _pieces(answer: httpcore2.Response) -> AsyncIterable[bytes]:
    return cast("AsyncIterable[bytes]", answer.stream)  # which those of an asynchronous pool are


def _json_object(content: bytes) -> Mapping[str, object]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_error(message: Mapping[str, object]) -> bool:
    error = message.get("error")
    return (
        message.get("jsonrpc") == "2.0"
        and isinstance(error, dict)
        and isinstance(error.get("code"), int)
        and isinstance(error.get("message"), str)
    )
