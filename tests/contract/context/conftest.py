"""A server with a model of a short context, in front of a model server that says how long it is."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.request import Request, urlopen

import httpx2
import pytest

from harness.forked import ForkedServer
from harness.server import UPSTREAM_KEY, scripted_config
from scripted_model import ScriptedModel

pytest.register_assert_rewrite("harness.background", "harness.tools")

CONTEXT_LENGTH = 1000
"""Tokens of the model ``short/echo``."""


class _Front(http.server.BaseHTTPRequestHandler):
    """Passes chat completions on to the scripted model server, and lists one model of it, with its context."""

    model_url = ""

    def do_GET(self) -> None:
        self._answer(json.dumps({"object": "list", "data": [{"id": "echo", "max_model_len": CONTEXT_LENGTH}]}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        request = Request(f"{self.model_url}/chat/completions", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            self._answer(answer.read())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def short_url(model: ScriptedModel) -> Iterator[str]:
    """The base URL of a model server that tells its model's context length."""
    front = type("Front", (_Front,), {"model_url": model.base_url})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), front) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def short(
    shared_sections: Callable[[Path], Mapping[str, object]],
    model: ScriptedModel,
    short_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx2.Client]:
    """Plain HTTP to a server with a model of a short context, ``short/echo``.

    Its model ``templated/system-first`` takes system messages at the beginning only.
    """
    directory = tmp_path_factory.mktemp("short")
    provider = {
        "provider_id": "short",
        "provider_type": "remote::openai",
        "config": {"base_url": short_url, "api_key": UPSTREAM_KEY, "max_retries": 0},
    }
    templated = {
        "provider_id": "templated",
        "provider_type": "remote::openai",
        "config": {
            "base_url": model.base_url,
            "max_retries": 0,
            "models": ["system-first"],
            "system_messages": "first",
        },
    }
    sections = {
        **shared_sections(directory),
        "providers": {"inference": [provider, templated]},
    }
    server = ForkedServer(directory, scripted_config(directory, model.base_url, **sections)).start()
    try:
        with server.http() as http:
            yield http
        server.stop()
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log
