"""What is too old goes by itself, where run.yaml says so; what is in use stays until it is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from harness.answers import ok
from harness.conversations import create, user
from harness.turns import post
from harness.waiting import pause
from scripted_model import ScriptedModel

DAYS = 4 / 86400
PATIENCE = 40


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(4) as pool:
        yield pool
        model.open_gate(tag)


def wait_until_gone(http: httpx2.Client, path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while http.get(path).status_code != 404:
        assert time.monotonic() < deadline
        pause()


def test_what_is_too_old_goes_and_a_conversation_whose_turn_runs_goes_later(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    kept = {"responses": DAYS, "conversations": DAYS, "every_seconds": 0.2}
    server = new_server(retention=kept).start()
    with server.http() as http, server.http() as other:
        busy = create(http)
        running = pool.submit(post, other, "slow", f"gate={tag}", conversation=busy)
        model.wait_until_reached(tag)
        idle = create(http, [user("Hello")])
        response_id = ok(post(http))["id"]
        wait_until_gone(http, f"/conversations/{idle}")
        wait_until_gone(http, f"/responses/{response_id}")
        ok(http.get(f"/conversations/{busy}"))
        model.open_gate(tag)
        assert ok(running.result())["status"] == "completed"
        wait_until_gone(http, f"/conversations/{busy}")
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log
