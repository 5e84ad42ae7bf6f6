"""A search service for tests: a real HTTP server that answers as SearXNG, Brave or Tavily does, by its path.

Words of the query say what happens: ``results=3`` are found, ``status=429`` is answered, ``gate=name`` waits until a
test opens the gate, and each of ``FAULTS`` goes wrong in its own way; any other word finds a search in the journal.
What is found lies at ``https://pages.example/…``.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

JsonObject = dict[str, Any]

WAIT_SECONDS = 10
LOOK_SECONDS = 0.02

FAULTS = ("garbage", "empty", "list", "other-json", "cut", "huge")


def page(number: int) -> str:
    """The address of a page that is found."""
    return f"https://pages.example/{number}"


def snippet(number: int, query: str) -> str:
    """What is told of it."""
    return f"Excerpt {number} & more of {query}"


@dataclass(frozen=True)
class Asked:
    """A search that the service was asked for; parameters are those of the URL, or the JSON object of the body."""

    method: str
    path: str
    parameters: JsonObject
    headers: dict[str, str]

    @property
    def query(self) -> str:
        """What was searched for, or the end of the path where it stands there."""
        return str(self.parameters.get("q") or self.parameters.get("query") or self.path.rpartition("/")[2])


def _searxng(found: list[JsonObject]) -> JsonObject:
    return {"query": "q", "number_of_results": 0, "results": found, "answers": [], "unresponsive_engines": []}


def _brave(found: list[JsonObject]) -> JsonObject:
    results = [
        {
            "title": f"<strong>{one['title']}</strong>",
            "url": one["url"],
            "description": one["content"].replace("&", "&amp;"),
        }
        for one in found
    ]
    return {"type": "search"} | ({"web": {"type": "search", "results": results}} if results else {})


def _tavily(found: list[JsonObject]) -> JsonObject:
    return {"query": "q", "answer": None, "images": [], "results": [{"score": 0.9, **one} for one in found]}


_SHAPES: dict[str, Callable[[list[JsonObject]], JsonObject]] = {"searxng": _searxng, "brave": _brave, "tavily": _tavily}


class ScriptedSearch:
    """The service, in threads of its own; ends with the test run."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._changed = threading.Condition()
        self._gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._left: dict[str, str] = {}
        service = self

        class Handler(_Handler):
            scripted = service

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for gate in list(self._gates.values()):
            gate.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, shape: str = "searxng") -> str:
        """An address of it."""
        return f"http://127.0.0.1:{self._server.server_port}/{shape}"

    def searches(self, word: str, count: int = 0) -> list[Asked]:
        """The searches whose query holds a word, oldest first; waits until there are ``count``."""
        with self._changed:
            in_time = self._changed.wait_for(lambda: len(self._matching(word)) >= count, WAIT_SECONDS)
            assert in_time, f"not {count} searches for {word}: {self._asked}"
            return self._matching(word)

    def open_gate(self, name: str) -> None:
        """Let a search go on."""
        self._gates[name].set()

    def left(self, name: str) -> str:
        """Waits until a search has left a gate: ``passed``, or ``disconnected`` by whoever asked."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self._left, WAIT_SECONDS), f"{name} is still waited at"
            return self._left[name]

    def _matching(self, word: str) -> list[Asked]:
        return [asked for asked in self._asked if word in asked.query]

    def note(self, asked: Asked) -> None:
        """Enter a search into the journal."""
        with self._changed:
            self._asked.append(asked)
            self._changed.notify_all()

    def pass_gate(self, name: str, connection: socket.socket) -> bool:
        """Wait at a gate. Whether it was passed."""
        passed = True
        while passed and not self._gates[name].wait(LOOK_SECONDS):
            readable, _, _ = select.select([connection], [], [], 0)
            passed = not (readable and connection.recv(1, socket.MSG_PEEK) == b"")
        with self._changed:
            self._left[name] = "passed" if passed else "disconnected"
            self._changed.notify_all()
        return passed


class _Handler(BaseHTTPRequestHandler):
    scripted: ScriptedSearch
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._search({name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        self._search(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _search(self, parameters: JsonObject) -> None:
        path = urlsplit(self.path).path
        asked = Asked(self.command, path, parameters, {name.lower(): value for name, value in self.headers.items()})
        self.scripted.note(asked)
        gate = re.search(r"gate=([\w.-]+)", asked.query)
        if gate and not self.scripted.pass_gate(gate[1], self.connection):
            self.close_connection = True
            return
        fault = next((fault for fault in FAULTS if fault in asked.query.split()), None)
        self._answer(*(self._found(asked) if fault is None else _faulty(fault)), cut=fault == "cut")

    def _found(self, asked: Asked) -> tuple[int, bytes]:
        status = re.search(r"status=(\d+)", asked.query)
        if status:
            return int(status[1]), b'{"error": "the key sk-search-secret is no good"}'
        number = re.search(r"results=(\d+)", asked.query)
        found = [
            {"title": f"Page {n}", "url": page(n), "content": snippet(n, asked.query)}
            for n in range(1, (int(number[1]) if number else 2) + 1)
        ]
        return 200, json.dumps(_SHAPES[asked.path.split("/")[1]](found)).encode()

    def _answer(self, status: int, body: bytes, *, cut: bool) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body) + cut * 100))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = self.close_connection or cut

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _faulty(fault: str) -> tuple[int, bytes]:
    bodies = {
        "garbage": b"<html>Welcome</html>",
        "empty": b"",
        "list": b"[]",
        "other-json": b'{"results": 5}',
        "cut": b'{"results": [',
        "huge": b'{"results": [], "padding": "%b"}' % (b"x" * 3_000_000),
    }
    return 200, bodies[fault]
