"""One request and its answer, over ASGI."""

from __future__ import annotations

from collections.abc import Mapping
from os import urandom
from time import perf_counter

from starlette.types import Message, Receive, Scope, Send

from llama_conversations.errors import InvalidParameter, RequestTooLarge

__all__ = ["ClientGone", "Exchange", "api_headers", "new_request_id"]

Headers = list[tuple[bytes, bytes]]

_API_VERSION = b"2020-10-01"  # what the OpenAI API sends in every answer
_LONGEST_LENGTH = 18  # digits; more cannot be a length that anybody means


def new_request_id() -> str:
    """An id for ``x-request-id``."""
    return "req_" + urandom(16).hex()


def api_headers(request_id: str, milliseconds: int) -> Headers:
    """The headers that every answer carries.

    Args:
        milliseconds: What the request took up to now.
    """
    return [
        (b"x-request-id", request_id.encode()),
        (b"openai-processing-ms", b"%d" % milliseconds),
        (b"openai-version", _API_VERSION),
    ]


class ClientGone(Exception):
    """The client closed the connection: nobody reads the answer any more."""


class Exchange:
    """One request and its answer.

    Attributes:
        method: The HTTP method.
        request_id: Sent as ``x-request-id``.
        status: Of the answer, once it has been begun.
        streaming: The answer has been begun, and more of it may follow.
    """

    __slots__ = ("_began", "_receive", "_send", "method", "request_id", "scope", "status", "streaming")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._began = perf_counter()
        self.scope = scope
        self._receive = receive
        self._send = send
        self.method: str = scope.get("method", "GET")  # a WebSocket's handshake is a GET (RFC 6455, 4.1)
        self.request_id = new_request_id()
        self.status: int | None = None
        self.streaming = False

    @property
    def path(self) -> str:
        """The path, percent-decoded as a whole."""
        path: str = self.scope["path"]
        return path

    @property
    def raw_path(self) -> bytes:
        """The path as it came; fit for a log."""
        return self.scope.get("raw_path") or self.path.encode()

    @property
    def milliseconds(self) -> int:
        """Time since the request came in."""
        return int((perf_counter() - self._began) * 1000)

    def header(self, name: bytes) -> str | None:
        """A header of the request; ``name`` in lower case."""
        for key, value in self.scope["headers"]:
            if key == name:
                text: str = value.decode("latin-1")
                return text
        return None

    async def read_body(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises:
            RequestTooLarge: It is longer than ``limit_bytes``. A declared length is refused before anything is read.
            InvalidParameter: It is a multipart form. Any other type is taken for JSON: clients are careless about it.
            ClientGone: The client hung up before it had sent everything.
        """
        for name, value in self.scope["headers"]:
            if name == b"content-length":
                if len(value) > _LONGEST_LENGTH or int(value) > limit_bytes:
                    raise RequestTooLarge(limit_bytes)
            elif name == b"content-type" and value[:10].lower() == b"multipart/":
                raise _unsupported_type(value.partition(b";")[0].decode("latin-1"))
        body, more = await self._receive_body()
        if not more and len(body) <= limit_bytes:
            return body
        parts = [body]
        size = len(body)
        while more and size <= limit_bytes:
            body, more = await self._receive_body()
            parts.append(body)
            size += len(body)
        if size > limit_bytes:
            raise RequestTooLarge(limit_bytes)
        return b"".join(parts)

    async def _receive_body(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    async def until_gone(self) -> None:
        """Return when the client closes the connection, or when the answer is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def send_whole(
        self, status: int, content_type: bytes, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with everything at once; to HEAD without the body."""
        lines = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        await self._begin(status, lines, headers)
        await self._pass({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def send_nothing(self, headers: Mapping[str, str]) -> None:
        """Answer 204."""
        await self._begin(204, [], headers)
        await self._pass({"type": "http.response.body", "body": b""})

    async def begin_stream(self, content_type: bytes, headers: Mapping[str, str]) -> None:
        """Begin an answer whose length is not known."""
        await self._begin(200, [(b"content-type", content_type)], headers)
        self.streaming = True

    async def send_part(self, data: bytes) -> None:
        """Send more of a stream; waits while the client does not keep up."""
        await self._pass({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self, data: bytes = b"") -> None:
        """Send the last of a stream."""
        self.streaming = False
        await self._pass({"type": "http.response.body", "body": data})

    async def _begin(self, status: int, lines: Headers, headers: Mapping[str, str] | None) -> None:
        lines += api_headers(self.request_id, self.milliseconds)
        if headers:
            lines += ((name.encode(), value.encode()) for name, value in headers.items())
        self.status = status
        await self._pass({"type": "http.response.start", "status": status, "headers": lines})

    async def _pass(self, message: Message) -> None:
        if self.scope["type"] == "websocket":  # a handshake that is refused (ASGI, WebSocket denial response)
            message = {**message, "type": f"websocket.{message['type']}"}
        try:
            await self._send(message)
        except OSError:  # how some ASGI servers say it (ASGI 2.4)
            raise ClientGone from None


def _unsupported_type(content_type: str) -> InvalidParameter:
    return InvalidParameter(
        f"Unsupported content type: '{content_type}'. This API method only accepts 'application/json' requests.",
        param=None,
        code="unsupported_content_type",
    )
