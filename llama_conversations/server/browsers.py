"""Keeping other people's web pages from calling the server through the browsers of their visitors.

A browser asks the server before it sends another page's request (a CORS preflight), but for a few simple ones: those
are refused here. It does not ask at all for a page that shares the server's name; so a server for its own machine
answers to the machine's names only, lest anybody make a name of theirs mean that machine (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from llama_conversations.config.run_config import CorsConfig
from llama_conversations.errors import HostForbidden, OriginForbidden
from llama_conversations.server.errors import refusal_of
from llama_conversations.server.exchange import Exchange, Headers

__all__ = ["LocalNames", "Origins"]

JSON = b"application/json"

_RESERVED = (b".localhost", b".internal")
"""Ends of names that nobody can register (RFC 6761; ICANN, 2024): ``host.docker.internal`` is how containers call."""


class Origins:
    """The web pages that may send what browsers do not ask about first."""

    def __init__(self, cors: CorsConfig | None) -> None:
        self._allowed = frozenset(origin.encode() for origin in cors.allow_origins) if cors else frozenset()

    def check(self, headers: Headers) -> None:
        """Look at a POST, of the methods that change something the only one that browsers may not ask about first.

        Raises:
            OriginForbidden: It is of a page that is neither ours nor allowed, and is not JSON, for which browsers ask.
        """
        for name, value in headers:
            if name == b"origin":
                if value not in self._allowed and b"*" not in self._allowed:
                    _check_foreign(value, dict(headers))
                return


def _check_foreign(origin: bytes, headers: dict[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    _, _, host = origin.partition(b"://")
    if content_type != JSON and (not host or host.lower() != headers.get(b"host", b"").lower()):
        raise OriginForbidden(origin.decode("latin-1"))


class LocalNames:
    """An app that answers to its own machine's names only.

    Args:
        host: What it is configured to listen on, which is a name of the machine too.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        own = f"[{host}]" if ":" in host else host
        self._names: Sequence[str] = tuple(dict.fromkeys(("localhost", "127.0.0.1", "[::1]", own.lower())))
        self._known = frozenset(name.encode() for name in ("", *self._names))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve or refuse a request."""
        for name, value in scope.get("headers", ()):
            if name == b"host" and (host := _without_port(value)) not in self._known and not host.endswith(_RESERVED):
                return self._refuse(Exchange(scope, receive, send), value.decode("latin-1"))
        return self._app(scope, receive, send)

    async def _refuse(self, exchange: Exchange, host: str) -> None:
        refusal = refusal_of(HostForbidden(host, self._names), exchange.request_id)
        await exchange.send_whole(refusal.status, JSON, refusal.body, refusal.headers)


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return (name if colon and (port.isdigit() or not port) else host).lower()
