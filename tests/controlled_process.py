"""A server for tests in a process of its own, whose controls tell it what to do and what it was asked."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

TESTS = Path(__file__).parent

JsonObject = dict[str, Any]


class NotInTime(AssertionError):
    """What was waited for did not happen."""


class ControlledProcess:
    """A module of the tests, run as a server; it ends with this object's context, and with the test run in any case.

    Its first line says where it listens; it ends when its standard input does.

    The controls answer within milliseconds, so an asynchronous test may call them too, except for waiting: what it
    waits for may need its own loop. There it uses those that are asynchronous.

    Args:
        module: What is run.
        arguments: What it is told beside its port.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, "--port", "0", *arguments]
        self._process: subprocess.Popen[str] | None = None
        self._opener = build_opener(ProxyHandler({}))
        self.told = ""

    @property
    def address(self) -> str:
        """Where its controls are."""
        return self.told

    def start(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.told = self._process.stdout.readline().strip()
        if not self.told:
            raise RuntimeError(f"{self._command} did not start")
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    __enter__ = start

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def open_gate(self, name: str) -> None:
        """Let what waits at a gate go on."""
        self.call("POST", f"/control/gates/{quote(name)}/open", {})

    def wait_until_reached(self, name: str) -> None:
        """Wait up to 10 s until something waits at the gate. Raises ``NotInTime``."""
        self.call("GET", f"/control/gates/{quote(name)}/reached")

    async def reached(self, name: str) -> None:
        """``wait_until_reached`` for asynchronous tests."""
        await asyncio.to_thread(self.wait_until_reached, name)

    def journal(self, **query: object) -> list[JsonObject]:
        """The requests that it got; what is ``None`` is not asked about. Raises ``NotInTime``."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        found = self.call("GET", f"/control/requests?{urlencode(given)}")
        assert isinstance(found, list)
        return found

    def call(self, method: str, path: str, body: JsonObject | None = None) -> object:
        """Use a control. Raises ``NotInTime``."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with self._opener.open(request, timeout=30) as response:
                return json.load(response)
        except HTTPError as error:
            with error:
                if error.code == 408:
                    raise NotInTime(f"{method} {path}: {error.read().decode()[:2000]}") from None
                raise
