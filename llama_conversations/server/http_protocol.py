"""HTTP/1.1 on a connection: uvicorn's protocol, with our own answers to what is no request, and bounds on the head."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from llama_conversations.errors import HeadTooLarge, NotHTTP, RequestError
from llama_conversations.log import get_logger
from llama_conversations.server.errors import refusal_of
from llama_conversations.server.exchange import api_headers, new_request_id

__all__ = ["LINGER_SECONDS", "MAX_HEAD_BYTES", "HttpProtocol"]

log = get_logger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a request's URL and header fields; more are refused."""

FIELD_BYTES = 4
"""What a field's colon, space and line end count in that."""

MAX_UNFINISHED_BYTES = 2 * MAX_HEAD_BYTES
"""How much may come that belongs to no body and completes no head, such as a field without end."""

LINGER_SECONDS = 2
"""How long a client may go on sending after a refusal; closed at once, the connection would take the answer along."""

_HANDSHAKE = frozenset((b"sec-websocket-key", b"sec-websocket-version"))


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    What differs from uvicorn's protocol: what is no HTTP/1.1 is answered with the error envelope. The head of a request
    is bounded. Trailer fields are dropped, not added to the headers. An offer to upgrade to anything but a WebSocket
    (``Upgrade: h2c``, which the JDK's client makes by default) is passed over, as RFC 9110, 7.8 allows; uvicorn would
    take the request's body for the new protocol's, and lose it.
    """

    _refused = False  # nothing that comes is looked at any more
    _unfinished_bytes = 0  # received since a head, a body or a part of one was complete

    def data_received(self, data: bytes) -> None:
        """Serve what came, or refuse it."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._unfinished_bytes += len(data)
        try:
            while data:
                data = self._fed(data)
        except httptools.HttpParserError as error:
            cause = error.__context__  # where one of the methods below has raised it
            self._refuse(cause if isinstance(cause, RequestError) else NotHTTP(str(cause or error)))
        else:
            if self._unfinished_bytes > MAX_UNFINISHED_BYTES:
                self._refuse(HeadTooLarge(MAX_HEAD_BYTES))

    def _fed(self, data: bytes) -> bytes:
        """What is left to be parsed: nothing, or from a request on that has offered an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return b""
            return self._head_without_offer() + data[offer.args[0] :]
        return b""

    def _should_upgrade(self) -> bool:
        """Whether it is a WebSocket's handshake (RFC 6455, 4.1), and no other request waits in front of it."""
        if self.parser.get_method() != b"GET" or not _HANDSHAKE.issubset(name for name, _ in self.headers):
            return False
        # uvicorn declares the cycle without None
        idle = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]
        return idle and super()._should_upgrade()

    def _head_without_offer(self) -> bytes:
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, fields)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._unfinished_bytes = 0
        fields = [len(name) + len(value) + FIELD_BYTES for name, value in self.headers]
        if len(self.url) + sum(fields) > MAX_HEAD_BYTES:
            raise HeadTooLarge(MAX_HEAD_BYTES)
        if self._should_upgrade():
            super().on_headers_complete()
        elif not self.parser.should_upgrade():
            super().on_headers_complete()
            self.headers = []  # for the fields behind the body, which are not the request's own (RFC 9110, 6.5.1)
        elif self.parser.get_method() == b"CONNECT":
            raise NotHTTP("CONNECT is for proxies, which this server is not")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._unfinished_bytes = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _refuse(self, error: RequestError) -> None:
        """Answer, unless an answer is on its way already, and end the connection when that is done."""
        self._refused = True
        cycle = self.cycle
        if cycle is None:
            self._answer(error)  # type: ignore[unreachable]  # uvicorn declares it without None
        elif self.scope is cycle.scope and cycle.more_body:  # it is the body of the newest request that is wrong
            if cycle.response_started or self.pipeline:
                self.transport.close()
            else:
                cycle.disconnected = True
                cycle.message_event.set()
                self._answer(error)
        elif cycle.response_complete:
            self._answer(error)
        else:  # requests that are good came before: they are served, and with the last the connection ends
            cycle.keep_alive = False

    def _answer(self, error: RequestError) -> None:
        request_id = new_request_id()
        refusal = refusal_of(error, request_id)
        log.debug("%s: from %s: %d %s", request_id, self.client, refusal.status, error)
        lines = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(refusal.body)),
            *api_headers(request_id, 0),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[refusal.status], head, refusal.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER_SECONDS, self.timeout_keep_alive_handler)
