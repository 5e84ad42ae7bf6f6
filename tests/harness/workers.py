"""Several processes behind one port: which there are, and clients that talk to a certain one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

from harness.answers import ok
from harness.server import StackServer
from harness.waiting import pause

PATIENCE = 30


def workers_of(server: StackServer) -> Sequence[int]:
    """The ids of the processes that serve, oldest first."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in children if b"cli.worker" in _command(int(pid))]


def sockets_of(pid: int) -> int:
    """How many sockets a process has open."""
    return sum(_is_socket(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir())


def _is_socket(descriptor: Path) -> bool:
    with suppress(FileNotFoundError):  # it was closed meanwhile
        return descriptor.readlink().name.startswith("socket:")
    return False


def _command(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for counts as ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def only(server: StackServer, pid: int) -> Iterator[None]:
    """Meanwhile the other workers stand still: what connects is taken by this one."""
    others = [other for other in workers_of(server) if other != pid]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


@contextmanager
def http_to(server: StackServer, pid: int) -> Iterator[httpx2.Client]:
    """A client of one worker: it keeps the one connection that it has, and makes one request at a time."""
    limits = httpx2.Limits(max_connections=1, keepalive_expiry=None)
    with httpx2.Client(base_url=server.base_url, timeout=60, limits=limits) as http:
        with only(server, pid):
            ok(http.get("/version"))
        yield http


def wait_for(server: StackServer, words: str, times: int = 1) -> None:
    """Wait until the server's log says something so many times."""
    deadline = time.monotonic() + PATIENCE
    while server.log.count(words) < times:
        assert time.monotonic() < deadline, server.log
        pause()


def wait_until_gone(pids: Sequence[int]) -> None:
    """Wait until processes have ended."""
    deadline = time.monotonic() + PATIENCE
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, pids
        pause()
