"""``stack run --workers``: what it says and does when a worker, or the supervisor, does not do what it should."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.answers import ok
from harness.server import StackServer
from harness.workers import http_to, sockets_of, wait_for, wait_until_gone, workers_of
from integration.stack.conftest import EchoConfig

Start = Callable[..., StackServer]
STACK = str(Path(sys.executable).with_name("stack"))


@pytest.fixture
def environ(echo_site: Path) -> dict[str, str]:
    """The process finds the third party's package."""
    return {"PYTHONPATH": os.pathsep.join([str(echo_site), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def start(tmp_path: Path, environ: dict[str, str], echo_config: EchoConfig) -> Iterator[Start]:
    """Starts two workers."""
    servers: list[StackServer] = []

    def begin(patience: float = 10) -> StackServer:
        server = {"port": 0, "workers": 2, "shutdown_timeout_seconds": patience}
        servers.append(StackServer(tmp_path, echo_config(server=server), environ))
        return servers[-1].start()

    yield begin
    for server in servers:
        server.close()


def run(environ: dict[str, str], directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``stack run`` where it cannot begin."""
    variables = {**os.environ, "NO_COLOR": "1", **environ, "SQLITE_STORE_DIR": str(directory)}
    command = [STACK, "run", "inference=echo", "--port", "0", "--workers", "2", *arguments]
    return subprocess.run(
        command, env=variables, cwd=directory, text=True, capture_output=True, timeout=60, check=False
    )


def test_where_workers_cannot_begin_it_is_said_once_and_nothing_is_served(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "state.db").mkdir()
    ended = run(environ, tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.count("Error: ") == 1
    assert f"Error: The database {tmp_path / 'state.db'} cannot be opened" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Serving" not in ended.stdout


def test_inference_is_recorded_by_one_worker_only(environ: dict[str, str], tmp_path: Path) -> None:
    ended = run(environ, tmp_path, "--inference-mode", "record")
    assert ended.returncode == 1
    assert "server.workers: inference in mode 'record' needs one worker, and there are 2" in ended.stderr


def test_a_worker_that_cannot_begin_again_is_tried_until_it_can(start: Start, tmp_path: Path) -> None:
    server = start()
    doomed, staying = workers_of(server)
    database, away = tmp_path / "state.db", tmp_path / "away.db"
    with http_to(server, staying) as http:
        database.rename(away)
        database.mkdir()
        os.kill(doomed, signal.SIGKILL)
        wait_for(server, "cannot begin: The database")
        ok(http.get("/health"))
        database.rmdir()
        away.rename(database)
        wait_for(server, "serves again")
    assert len(workers_of(server)) == 2
    assert server.stop() == 0


def test_workers_end_when_their_supervisor_is_killed(start: Start) -> None:
    server = start()
    pids = workers_of(server)
    server.kill()
    wait_until_gone(pids)
    assert server.log.count("the supervisor has ended; ending, too") == 2
    assert server.log.count("shutting down") == 2


def test_a_worker_that_does_not_end_is_killed_and_the_exit_code_says_so(start: Start) -> None:
    server = start(patience=0.1)
    frozen = workers_of(server)[0]
    os.kill(frozen, signal.SIGSTOP)
    assert server.stop() == 1
    assert "did not end within" in server.log
    assert "Error: Not every worker has ended as it should" in server.log


def test_a_signal_while_workers_begin_ends_them_with_exit_code_0(environ: dict[str, str], tmp_path: Path) -> None:
    variables = {**os.environ, **environ, "PYTHONUNBUFFERED": "1", "SQLITE_STORE_DIR": str(tmp_path)}
    command = [STACK, "run", "inference=echo", "--port", "0", "--workers", "2"]
    with subprocess.Popen(command, env=variables, cwd=tmp_path, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Opening")
        while not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Serving" not in process.stdout.read()
    shutil.rmtree(tmp_path)


def test_clients_that_come_at_once_are_spread_over_all(start: Start) -> None:
    server = start()
    port = int(server.root_url.rpartition(":")[2])
    clients, bursts, pids = 48, 3, workers_of(server)
    taken = dict.fromkeys(pids, 0)
    for _ in range(bursts):
        before = {pid: sockets_of(pid) for pid in pids}
        with ExitStack() as opened:
            each = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(clients)]
            for client in each:
                client.sendall(b"GET /v1/health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            for client in each:
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            for pid in pids:
                taken[pid] += sockets_of(pid) - before[pid]
        while any(sockets_of(pid) > before[pid] for pid in pids):
            assert set(workers_of(server)) == set(pids)
    assert sum(taken.values()) == clients * bursts
    assert min(taken.values()) > clients * bursts / 5
