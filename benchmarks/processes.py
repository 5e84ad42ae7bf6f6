"""The server and the model server as processes of their own, and what they cost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

START_SECONDS = 60
STOP_SECONDS = 40

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Served:
    """A process that serves HTTP.

    Attributes:
        start_seconds: From its start to its first answer.
    """

    pid: int
    url: str
    start_seconds: float

    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_bytes(self) -> int:
        """What it holds in memory (RSS)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def model_server() -> Iterator[Served]:
    """The model server of this package."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.model_server", str(port)]
    with _process(command, f"http://127.0.0.1:{port}", "/models", Path(os.devnull)) as served:
        yield served


@contextmanager
def stack_server(
    directory: Path, model_url: str, backend: Mapping[str, object] | None = None, **server: object
) -> Iterator[Served]:
    """``stack run``, with SQLite in ``directory`` unless another storage backend is given.

    Args:
        server: Settings of run.yaml's ``server``.
    """
    port = _free_port()
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
        "storage": {"backends": {"default": dict(backend or sqlite_backend(directory))}},
        "server": {"port": port, "log_level": "error", **server},
    }
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("stack")), "run", str(path)]
    with _process(command, f"http://127.0.0.1:{port}", "/v1/health", directory / "server.log") as served:
        yield served


def sqlite_backend(directory: Path) -> Mapping[str, object]:
    """SQLite with the server's defaults: durable against a loss of power."""
    return {"type": "sql_sqlite", "path": str(directory / "state.db")}


@contextmanager
def _process(command: Sequence[str], url: str, ready_path: str, log: Path) -> Iterator[Served]:
    began = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603  (our own command)
    try:
        _wait_until_ready(process, url + ready_path)
        yield Served(process.pid, url, time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.perf_counter() + START_SECONDS
    while time.perf_counter() < deadline:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(map(str, process.args))} ended with {process.returncode}")  # type: ignore[arg-type]
        time.sleep(0.01)
    raise RuntimeError(f"no answer from {url} within {START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
