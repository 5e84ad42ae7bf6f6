"""Run by test_serve.py as a process of its own: serves one slow route, and tells on stdout what happens.

Arguments: the seconds that requests may take to end at shutdown, and those that the route takes.
"""

from __future__ import annotations

import asyncio
import sys
from abc import abstractmethod
from typing import Protocol

from llama_conversations.apis.webmethod import webmethod
from llama_conversations.config.run_config import ServerConfig
from llama_conversations.server.app import build_app
from llama_conversations.server.serve import new_event_loop, serve
from llama_conversations.wire.answers import Json
from llama_conversations.wire.base import WireModel


class Done(WireModel):
    done: bool


class Slow(Protocol):
    @webmethod(route="/slow", method="GET")
    @abstractmethod
    async def slow(self) -> Json[Done]: ...


class Sleeper:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def slow(self) -> Json[Done]:
        tell("called")
        await asyncio.sleep(self.seconds)
        return Json.of(Done(done=True))


def tell(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


async def main() -> None:
    shutdown_timeout, seconds = map(float, sys.argv[1:])
    tell(type(asyncio.get_running_loop()).__module__)
    app = build_app([(Slow, Sleeper(seconds))], ServerConfig())
    await serve(
        app, host="127.0.0.1", port=0, shutdown_timeout=shutdown_timeout, on_started=lambda port: tell(str(port))
    )
    tell("returned")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
