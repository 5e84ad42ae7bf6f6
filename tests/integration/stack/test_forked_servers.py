"""The servers of most tests are forks; what holds for them must hold for those that users start."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.answers import ok
from harness.forked import ForkedServer
from harness.server import StackServer, scripted_config
from harness.waiting import pause

NOWHERE = "http://127.0.0.1:9/v1"


LAST_LINE = "Ctrl-C stops it"


def welcomed(server: StackServer, times: int) -> None:
    """Wait until it has said all that it says when it serves."""
    deadline = time.monotonic() + 30
    while server.log.count(LAST_LINE) < times:
        assert time.monotonic() < deadline, server.log
        pause()


def life(make: type[StackServer], directory: Path, config: Mapping[str, object]) -> tuple[list[str], list[int]]:
    """What a server prints that is stopped, started again and killed, but for times and ports; its exit codes.

    The lines are sorted: what it learns of its model server comes while it serves.
    """
    directory.mkdir()
    server = make(directory, config).start()
    with server.http() as http:
        ok(http.post("/conversations", json={}))
    welcomed(server, 1)
    codes = [server.stop()]
    with server.start().http() as http:
        assert len(ok(http.get("/conversations"))["data"]) == 1
    welcomed(server, 2)
    server.kill()
    server.send_signal(signal.SIGTERM)  # nobody is there
    said = re.sub(r"localhost:\d+|\d{4}-\S+ \S+ |" + re.escape(str(directory)), "…", server.log)
    return sorted(said.splitlines()), [*codes, server.wait()]


def test_a_forked_server_says_and_does_what_a_started_one_does(tmp_path: Path) -> None:
    config = scripted_config(tmp_path, NOWHERE)
    config["storage"] = {"backends": {"default": {"type": "sql_sqlite", "path": "state.db"}}}
    started, forked = (life(make, tmp_path / make.__name__, config) for make in (StackServer, ForkedServer))
    assert forked == started
    assert started[1] == [0, -signal.SIGKILL]


def test_a_forked_server_that_cannot_start_ends_with_its_error(tmp_path: Path) -> None:
    server = ForkedServer(tmp_path, {**scripted_config(tmp_path, NOWHERE), "serve": {}})
    with pytest.raises(AssertionError, match=r"run\.yaml: 1 problem"):
        server.start()
    assert server.has_ended
    assert server.wait() == 1
