"""Starts a scripted MCP server and talks to its controls."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

TESTS = Path(__file__).parents[1]


class NotInTime(AssertionError):
    """What was waited for did not happen."""


@dataclass(frozen=True)
class LoggedRequest:
    """A request that the server got; ``rpc`` is the JSON-RPC method in it, ``headers`` are in lower case."""

    tag: str
    method: str
    rpc: str
    headers: dict[str, str]


class ScriptedMcp:
    """An MCP server in a process of its own; ends with it, and with the test run, however that ends.

    Args:
        certificate: A PEM file with a certificate and its key, to serve HTTPS; the controls are out of reach then.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.address = ""
        self._certificate = certificate
        self._process: subprocess.Popen[str] | None = None
        self._opener = build_opener(ProxyHandler({}))

    def start(self) -> Self:
        tls = ["--certificate", str(self._certificate)] if self._certificate else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripted_mcp", "--port", "0", *tls],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError("the scripted MCP server did not start")
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    __enter__ = start

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def url(self, host: str = "127.0.0.1", path: str = "/mcp", **options: object) -> str:
        """An address of the server, under any name that leads to it; ``options`` say how it behaves."""
        scheme = self.address.partition(":")[0]
        query = f"?{urlencode(options)}" if options else ""
        return f"{scheme}://{host}:{self.port}{path}{query}"

    def requests(self, tag: str, rpc: str | None = None, count: int = 0) -> list[LoggedRequest]:
        """The requests with a tag, oldest first. Waits up to 10 s until there are ``count``. Raises ``NotInTime``."""
        query = {"tag": tag, "count": str(count)} | ({} if rpc is None else {"rpc": rpc})
        found = self._call("GET", f"/control/requests?{urlencode(query)}")
        assert isinstance(found, list)
        return [LoggedRequest(**entry) for entry in found]

    async def requested(self, tag: str, rpc: str | None = None, count: int = 1) -> list[LoggedRequest]:
        """``requests`` for asynchronous tests."""
        return await asyncio.to_thread(self.requests, tag, rpc, count)

    def open_gate(self, name: str) -> None:
        """Let a call go on."""
        self._call("POST", f"/control/gates/{quote(name)}/open")

    async def reached(self, name: str) -> None:
        """Wait up to 10 s until a call waits at the gate. Raises ``NotInTime``."""
        await asyncio.to_thread(self._call, "GET", f"/control/gates/{quote(name)}/reached")

    async def left(self, name: str) -> str:
        """Wait up to 10 s until a call has left the gate: ``passed`` or ``cancelled``. Raises ``NotInTime``."""
        found = await asyncio.to_thread(self._call, "GET", f"/control/gates/{quote(name)}/left")
        assert isinstance(found, dict)
        return str(found["left"])

    def _call(self, method: str, path: str) -> object:
        request = Request(self.address + path, b"" if method == "POST" else None, method=method)
        try:
            with self._opener.open(request, timeout=30) as response:
                return json.load(response)
        except HTTPError as error:
            with error:
                if error.code == 408:
                    raise NotInTime(f"{method} {path}: {error.read().decode()[:2000]}") from None
                raise
