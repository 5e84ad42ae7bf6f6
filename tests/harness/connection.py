"""One connection to a server, over which anything can be sent and which must stay usable whatever was sent."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from harness.answers import envelope

TIMEOUT = 30


@dataclass(frozen=True)
class Answer:
    """An answer as it came; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error, of which all that every error has is looked at."""
        assert self.status >= 400, self
        assert self.headers["content-type"] == "application/json", self
        assert self.headers["x-request-id"].startswith("req_"), self
        return envelope(self.body)


class Connection:
    """A connection that is never opened again: if the server drops it, the next request fails."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        self._http.connect()
        self._http.auto_open = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request as it stands (the path is not normalised) and read the whole answer."""
        given = {"content-type": "application/json"} if body is not None else {}
        self._http.request(method, path, body, {**given, **(headers or {})})
        return _read(self._http.getresponse())

    def send_raw(self, request: bytes) -> Answer:
        """Send bytes, which need not be HTTP at all, and read the whole answer."""
        self._http.sock.sendall(request)
        response = http.client.HTTPResponse(self._http.sock)
        response.begin()
        return _read(response)

    def assert_usable(self) -> None:
        """The connection still serves."""
        answer = self.send("GET", "/v1/health")
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


def _read(response: http.client.HTTPResponse) -> Answer:
    lines = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, lines, response.read())
