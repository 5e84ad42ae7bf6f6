"""A database that goes away and comes back: one line of the log for each, and what is refused meanwhile says why."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, items_of, texts_of, user
from harness.postgres import Cluster
from harness.server import StackServer
from harness.turns import post, text_of, turn
from harness.workers import wait_for
from scripted_model import ScriptedModel

pytestmark = pytest.mark.databases("postgres")

PATIENCE = 30


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A database server that may be stopped."""
    cluster = Cluster()
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def server(cluster: Cluster, new_server: Callable[..., StackServer]) -> StackServer:
    backend = cluster.backend(cluster.empty_database())
    return new_server(storage={"backends": {"default": backend}}, turns={"lease_seconds": 1}).start()


def until_it_is_back(http: httpx2.Client, path: str) -> httpx2.Response:
    deadline = time.monotonic() + PATIENCE
    while (answer := http.get(path)).status_code == 503:
        assert time.monotonic() < deadline
    return answer


def test_an_outage_is_told_once_and_its_end_too(
    cluster: Cluster, server: StackServer, model: ScriptedModel, tag: str
) -> None:
    with server.http() as http, ThreadPoolExecutor(1) as threads:
        conversation_id = create(http, [user("Before")])
        running = threads.submit(post, http, "slow", f"gate={tag} tag={tag}")
        model.wait_until_reached(tag)
        cluster.stop()
        for _ in range(3):
            refused(http.get(f"/conversations/{conversation_id}"), 503, "server_error", None, "server_error")
            refused(http.post("/conversations", json={}), 503, "server_error", None, "server_error")
            refused(post(http), 503, "server_error", None, "server_error")
        for upkeep in ("taking up background responses", "keeping leases"):
            wait_for(server, f"{upkeep} failed, and is tried again: The database is not available.")
        model.open_gate(tag)
        refused(running.result(), 503, "server_error", None, "server_error")
        cluster.start()
        assert ok(until_it_is_back(http, f"/conversations/{conversation_id}"))["id"] == conversation_id
        assert text_of(turn(http, "echo", "After", conversation=conversation_id)) == "seen=2 last=After"
        assert texts_of(items_of(http, conversation_id)) == ["Before", "After", "seen=2 last=After"]
        wait_for(server, "the connection for news stands again")
    assert server.stop() == 0
    told = [line for line in server.output if re.search(r" (WARNING|ERROR) ", line) and "server.app:" not in line]
    once = (
        r"the database postgresql://127\.0\.0\.1:\d+/\S+ cannot be reached \(.+\): what needs it is refused",
        r"the database postgresql://127\.0\.0\.1:\d+/\S+ is reached again, after \d+\.\d s",
        r"the connection for news is lost \(.+\): news are looked for meanwhile",
        "taking up background responses failed, and is tried again: ",
        "keeping leases failed, and is tried again: ",
        r"the end of resp_\w+ could not be stored: The database is not available\.",
    )
    for line in once:
        assert len(found := [each for each in told if re.search(line, each)]) == 1, (line, found)
    assert "Traceback" not in server.log
    assert "asyncpg" not in server.log
