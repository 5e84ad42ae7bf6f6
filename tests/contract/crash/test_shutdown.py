"""Servers that are asked to end: running turns may finish, within limits, and what did not finish says so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from harness.answers import ok
from harness.conversations import create, items_of, texts_of, user
from harness.event_stream import check_stream, read_frames
from harness.server import StackServer
from harness.turns import post, text_of, turn
from scripted_model import ScriptedModel

PATIENCE = 3
"""Seconds that running requests and turns get to end."""

MARGIN = 2.0
"""Seconds for everything else: failing what is left, closing the database, ending the process."""

IMPATIENT = {"server": {"port": 0, "shutdown_timeout_seconds": PATIENCE}}
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def wait_for(server: StackServer, words: str) -> None:
    """Wait until the server's log says something."""
    deadline = time.monotonic() + 20
    while words not in server.log:
        assert time.monotonic() < deadline, server.log


@STREAMED
def test_a_running_turn_is_finished_after_the_signal(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        conversation_id = create(http, [user("Before")])
        running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id, stream=streamed)
        model.wait_until_reached(tag)
        os.kill(server.pid, signal.SIGTERM)
        wait_for(server, "shutting down")
        model.open_gate(tag)
        answer = running.result()
        response = check_stream(read_frames(answer.content)) if streamed else ok(answer)
        assert text_of(response) == "before after"
        assert server.stop() == 0
    server.start()
    with server.http() as http:
        assert ok(http.get(f"/responses/{response['id']}")) == response
        assert texts_of(items_of(http, conversation_id)) == ["Before", f"gate={tag}", "before after"]


def test_a_turn_whose_client_has_left_is_finished_after_the_signal(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server().start()
    body = {"model": "slow", "input": f"gate={tag}", "stream": True}
    with server.http() as http:
        with http.stream("POST", "/responses", json=body) as answer:
            next(answer.iter_raw())
            model.wait_until_reached(tag)
        response_id = ok(http.get("/responses"))["data"][0]["id"]
        os.kill(server.pid, signal.SIGTERM)
        wait_for(server, "running turns")
        model.open_gate(tag)
        assert server.stop() == 0
    server.start()
    with server.http() as http:
        assert text_of(ok(http.get(f"/responses/{response_id}"))) == "before after"


@STREAMED
def test_a_hung_turn_is_failed_within_the_time_to_shut_down(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    server: StackServer = new_server(**IMPATIENT).start()
    with server.http() as http:
        conversation_id = create(http, [user("Before")])
        running = pool.submit(post, http, "hang", f"gate={tag}", conversation=conversation_id, stream=streamed)
        model.wait_until_reached(tag)
        began = time.monotonic()
        assert server.stop() == 0
        took = time.monotonic() - began
        answer = running.result()
    assert answer.status_code == (200 if streamed else 503)
    assert took < PATIENCE + MARGIN
    assert "Traceback" not in server.log, server.log
    server.start()
    with server.http() as http:
        [response] = ok(http.get("/responses"))["data"]
        assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
        assert texts_of(items_of(http, conversation_id)) == ["Before"]
        assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=2 last=Next"


def test_a_hung_turn_whose_client_has_left_is_failed_within_the_time_to_shut_down(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server(**IMPATIENT).start()
    with server.http() as http:
        with http.stream(
            "POST", "/responses", json={"model": "hang", "input": f"gate={tag}", "stream": True}
        ) as answer:
            next(answer.iter_raw())
            model.wait_until_reached(tag)
        response_id = ok(http.get("/responses"))["data"][0]["id"]
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < PATIENCE + MARGIN
    server.start()
    with server.http() as http:
        assert ok(http.get(f"/responses/{response_id}"))["status"] == "failed"


def test_a_second_signal_ends_a_hung_turn_at_once(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    server: StackServer = new_server(server={"port": 0, "shutdown_timeout_seconds": 4}).start()
    with server.http() as http:
        running = pool.submit(post, http, "hang", f"gate={tag}")
        model.wait_until_reached(tag)
        os.kill(server.pid, signal.SIGTERM)
        wait_for(server, "shutting down")
        os.kill(server.pid, signal.SIGTERM)
        assert running.result().status_code == 503
        assert server.stop() == 0
    server.start()
    with server.http() as http:
        [response] = ok(http.get("/responses"))["data"]
        assert response["status"] == "failed"


def test_an_idle_server_ends_at_once(new_server: Any) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        turn(http)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < MARGIN
    with pytest.raises(httpx2.ConnectError), server.http() as http:
        http.get("/health")
