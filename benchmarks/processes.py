"""The server and the model server as processes of their own, and what they cost."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.process_tree import ProcessTree

START_SECONDS = 60
STOP_SECONDS = 40


@dataclass(frozen=True)
class Served:
    """A server of HTTP.

    Attributes:
        start_seconds: From its start to its first answer.
    """

    processes: ProcessTree
    url: str
    start_seconds: float


@asynccontextmanager
async def model_server() -> AsyncIterator[Served]:
    """The model server of this package."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.model_server", str(port)]
    async with _serving(command, f"http://127.0.0.1:{port}", "/models", Path(os.devnull)) as served:
        yield served


@asynccontextmanager
async def stack_server(
    directory: Path, model_url: str, backend: Mapping[str, object], **server: object
) -> AsyncIterator[Served]:
    """``stack run`` on a database.

    Args:
        directory: Where its run.yaml and its log go.
        backend: The database, as it stands under ``storage.backends`` in a run.yaml.
        server: Settings of run.yaml's ``server``.
    """
    port = free_port()
    config = {
        "version": 1,
        "providers": {
            "inference": [
                {
                    "provider_id": "bench",
                    "provider_type": "remote::openai",
                    "config": {"base_url": f"{model_url}/v1", "api_key": "none"},
                }
            ]
        },
        "storage": {"backends": {"default": dict(backend)}},
        "server": {"port": port, "log_level": "error", **server},
    }
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("stack")), "run", str(path)]
    async with _serving(command, f"http://127.0.0.1:{port}", "/v1/health", directory / "server.log") as served:
        yield served


@asynccontextmanager
async def started(
    command: Sequence[str], log: Path, end: signal.Signals = signal.SIGTERM, **options: object
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process; at the end it is told to end, and killed where it does not.

    It has a session of its own: Ctrl-C reaches the benchmarks alone, which end their processes in order.
    """
    with log.open("ab") as output:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603, ASYNC220  (our own command; it is started and not waited for)
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def wait_until(ready: Callable[[], Awaitable[bool]], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a process is ready. Raises ``RuntimeError`` when it ends, or takes too long."""
    deadline = time.perf_counter() + START_SECONDS
    while not await ready():
        if process.poll() is not None or time.perf_counter() > deadline:
            said = await asyncio.to_thread(log.read_text, errors="replace")
            raise RuntimeError(f"{process.args!r} does not serve: exit code {process.returncode}\n{said[-2000:]}")
        await asyncio.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def _serving(command: Sequence[str], url: str, ready_path: str, log: Path) -> AsyncIterator[Served]:
    began = time.perf_counter()

    async def ready() -> bool:
        return await asyncio.to_thread(_answers, url + ready_path)

    async with started(command, log) as process:
        await wait_until(ready, process, log)
        yield Served(ProcessTree(process.pid), url, time.perf_counter() - began)


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):  # noqa: S310
        return True
    return False
