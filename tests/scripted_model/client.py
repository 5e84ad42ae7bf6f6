"""Starts a scripted model server and talks to its controls."""

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

from scripted_model.answers import Answer, JsonObject, Step

TESTS = Path(__file__).parents[1]


class NotInTime(AssertionError):
    """What was waited for did not happen."""


@dataclass(frozen=True)
class LoggedRequest:
    """A request that the model server got; ``outcome`` is running, complete, disconnected or dropped."""

    path: str
    headers: dict[str, str]
    raw: str
    body: JsonObject
    model: str | None
    tag: str
    status: int | None
    chunks: int
    outcome: str

    def header(self, name: str) -> str | None:
        """A header, whatever its case."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


class ScriptedModel:
    """A model server in a process of its own; ends with it, and with the test run, however that ends.

    The controls answer within milliseconds, so an asynchronous test may call them too, except for waiting: there it
    uses ``reached`` and ``ended``, because what it waits for may need its own loop.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self._process: subprocess.Popen[str] | None = None
        self._opener = build_opener(ProxyHandler({}))

    def start(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripted_model", "--port", "0", "--until-stdin-ends"],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.base_url = self._process.stdout.readline().strip()
        if not self.base_url:
            raise RuntimeError("the scripted model server did not start")
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
    def address(self) -> str:
        """Without ``/v1``."""
        return self.base_url.removesuffix("/v1")

    def requests(
        self, *, model: str | None = None, tag: str | None = None, count: int = 0, ended: bool = False
    ) -> list[LoggedRequest]:
        """The requests for a model or with a tag, oldest first.

        Waits up to 10 s until there are ``count``, and with ``ended`` until none is running. Raises ``NotInTime``.
        """
        query = {"model": model, "tag": tag, "count": str(count), "ended": str(int(ended))}
        given = {name: value for name, value in query.items() if value is not None}
        found = self._call("GET", f"/control/requests?{urlencode(given)}")
        assert isinstance(found, list)
        return [LoggedRequest(**entry) for entry in found]

    async def ended(self, *, model: str | None = None, tag: str | None = None, count: int = 1) -> list[LoggedRequest]:
        """``requests`` that have ended, for asynchronous tests."""
        return await asyncio.to_thread(self.requests, model=model, tag=tag, count=count, ended=True)

    def script(self, *answers: Answer | tuple[Step, ...], tag: str = "") -> None:
        """Queue answers for requests to the model ``scripted`` with that tag in their last user text."""
        whole = [answer if isinstance(answer, Answer) else Answer(answer) for answer in answers]
        self._call("POST", "/control/script", {"tag": tag, "answers": [answer.to_json() for answer in whole]})

    def open_gate(self, name: str) -> None:
        """Let an answer go on."""
        self._call("POST", f"/control/gates/{quote(name)}/open", {})

    def wait_until_reached(self, name: str) -> None:
        """Wait up to 10 s until an answer waits at the gate. Raises ``NotInTime``."""
        self._call("GET", f"/control/gates/{quote(name)}/reached")

    async def reached(self, name: str) -> None:
        """``wait_until_reached`` for asynchronous tests."""
        await asyncio.to_thread(self.wait_until_reached, name)

    def _call(self, method: str, path: str, body: JsonObject | None = None) -> object:
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
