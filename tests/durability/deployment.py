"""Server processes on one database, as something that can be killed and started again while clients use it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.forked import ForkedServer
from harness.server import StackServer, scripted_config
from harness.workers import workers_of

LEASE_SECONDS = 3.0
SWEEP_SECONDS = 0.5
PATIENCE = 0.7
"""Seconds that running turns get when a server is asked to end."""

STARTS = 10
"""How often a server that does not come up is started again."""

LONGEST_END = PATIENCE + 20
"""Seconds from the signal to the end of the process, on a busy machine."""

_TRACE = "Traceback (most recent call last):"
_CHAINED = ("The above exception was the direct cause", "During handling of the above exception")
_RAISED = re.compile(r"^[\w.]+(?:: .*)?$")
_EXPECTED = ("StorageUnavailable", "OutcomeUnknown", "ShuttingDown", "asyncpg.pool")
"""Errors, and who logs them, that may stand there with their trace: the database was away."""


class Database(Protocol):
    """A database that servers share."""

    backend: Mapping[str, object]
    can_stop: bool

    def stop(self) -> None:
        """Take it away at once, whatever runs in it."""
        ...

    def start(self) -> None:
        """Bring it back."""
        ...

    def drop_connections(self) -> None:
        """Break off every connection to it, whatever runs on it."""
        ...

    def faults(self) -> Sequence[str]:
        """What is wrong with it below all that HTTP shows, now that nobody uses it."""
        ...


@dataclass(eq=False)
class Node:
    """One ``stack run``: a process that can be killed and started again on another port."""

    server: StackServer
    some_up: asyncio.Event
    up: bool = False
    faults: list[str] = field(default_factory=list)

    async def start(self) -> None:
        """Start it and wait until it serves; again if it ends at once, as whatever keeps servers running does."""
        for last in [False] * STARTS + [True]:
            try:
                await asyncio.to_thread(self.server.start)
                break
            except AssertionError:  # its database may be away
                if last:
                    raise
                await asyncio.sleep(SWEEP_SECONDS)
        self.up = True
        self.some_up.set()

    async def kill(self) -> None:
        """SIGKILL: requests that are being sent to it meet it."""
        await asyncio.to_thread(self.server.kill)
        self._ended()

    async def terminate(self) -> None:
        """SIGTERM, and wait until it has ended."""
        began = time.monotonic()
        self.server.ask_to_stop()
        code, took = await asyncio.to_thread(self.server.wait), time.monotonic() - began
        if code != 0 or took > LONGEST_END:
            self.faults.append(f"it ended with {code} within {took:.1f} s of SIGTERM: {self.server.log[-2000:]}")
        self._ended()

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: a process that stands still."""
        self.server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.server.send_signal(signal.SIGCONT)

    def signal_worker(self, number: signal.Signals, which: int) -> bool:
        """Send a signal to one of its workers; whether there is one."""
        workers = workers_of(self.server)
        with suppress(ProcessLookupError, IndexError):
            os.kill(workers[which % max(len(workers), 1)], number)
            return True
        return False

    def _ended(self) -> None:
        self.up = False
        self.look_at_log()

    def look_at_log(self) -> None:
        """Take note of errors that nobody expected; forget the rest."""
        lines = self.server.log.splitlines()
        self.faults += [f"in a server's log: {error}" for error in logged_errors(lines)]
        self.server.output.clear()


def logged_errors(lines: Sequence[str]) -> list[str]:
    """What stands before and at the end of each trace, but for what is expected while a database is away."""
    found: list[tuple[str, str]] = []
    said, tracing = "", False
    for line in lines:
        if line.startswith(_TRACE):
            # Of a chain of errors counts the last one, which came of the others.
            said, tracing = found.pop()[0] if said.startswith(_CHAINED) and found else said, True
            found.append((said, ""))
        elif tracing and line and not line.startswith(" ") and _RAISED.match(line):
            found[-1], tracing = (found[-1][0], line), False
        said = line or said
    told = [f"{said}: {error}" for said, error in found]
    return [error for error in told if not any(name in error for name in _EXPECTED)]


@dataclass(frozen=True)
class Layout:
    """Which processes there are: so many servers, each of so many workers; ``forks``: started quickly."""

    servers: int
    workers: int
    forks: bool


class Deployment:
    """Servers of one database; a client may use any of them that seems to be up."""

    def __init__(self, directory: Path, model_url: str, database: Database, layout: Layout) -> None:
        self.database, self.workers = database, layout.workers
        self._some_up = asyncio.Event()
        config = _config(directory, model_url, database.backend, layout.workers)
        make = ForkedServer if layout.forks else StackServer
        self.nodes = [Node(make(_folder(directory, number), config), self._some_up) for number in range(layout.servers)]

    def urls(self) -> Sequence[str]:
        """Base URLs of servers that were not seen to end."""
        return [node.server.base_url for node in self.nodes if node.up]

    async def serving(self) -> None:
        """Wait until a server is up."""
        if not self.urls():
            self._some_up.clear()
            await self._some_up.wait()

    async def start(self) -> None:
        """Start all servers that are down, at once."""
        await asyncio.gather(*(node.start() for node in self.nodes if not node.up))

    async def stop(self) -> None:
        """Stop all servers that are up."""
        await asyncio.gather(*(node.terminate() for node in self.nodes if node.up))

    def faults(self) -> list[str]:
        """What went wrong beside what clients could see; told once."""
        found = [fault for node in self.nodes for fault in node.faults]
        for node in self.nodes:
            node.faults.clear()
        return found

    def close(self) -> None:
        """End whatever runs."""
        for node in self.nodes:
            with suppress(ProcessLookupError):
                node.server.close()


def _folder(directory: Path, number: int) -> Path:
    folder = directory / f"server{number}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _config(directory: Path, model_url: str, backend: Mapping[str, object], workers: int) -> Mapping[str, object]:
    return scripted_config(
        directory,
        model_url,
        storage={"backends": {"default": dict(backend)}},
        turns={"lease_seconds": LEASE_SECONDS, "sweep_seconds": SWEEP_SECONDS},
        server={"port": 0, "workers": workers, "shutdown_timeout_seconds": PATIENCE},
    )
