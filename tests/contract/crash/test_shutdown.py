"""Servers that are asked to end: running turns may finish, within limits, and what did not finish says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, items_of, texts_of, user
from harness.event_stream import check_stream, read_frames
from harness.server import StackServer
from harness.turns import post, request, text_of, turn
from harness.waiting import pause
from scripted_model import ScriptedModel

PATIENCE = 4
"""Seconds that running requests and turns get to end."""

MARGIN = 20
"""Seconds for everything else: failing what is left, closing the database, ending the process on a busy machine."""

STOPPED = {"code": "server_error", "message": "The turn was stopped before the model had finished."}
"""The error of a response whose turn the server ended itself, not the next one."""

STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(4) as pool:
        yield pool
        model.open_gate(tag)


def settings(patience: float) -> dict[str, Any]:
    """The section ``server`` of a run.yaml."""
    return {"port": 0, "shutdown_timeout_seconds": patience}


def wait_for(server: StackServer, words: str) -> None:
    """Wait until the server's log says something."""
    deadline = time.monotonic() + 20
    while words not in server.log:
        assert time.monotonic() < deadline, server.log
        pause()


@contextmanager
def ended_within(seconds: float) -> Iterator[None]:
    """What happens here takes no longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def only_response(http: httpx2.Client) -> dict[str, Any]:
    """The one response that there is."""
    [response] = ok(http.get("/responses"))["data"]
    return dict(response)


@STREAMED
def test_a_running_turn_is_finished_after_the_signal(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        conversation_id = create(http, [user("Before")])
        running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id, stream=streamed)
        model.wait_until_reached(tag)
        server.ask_to_stop()
        wait_for(server, "shutting down")
        model.open_gate(tag)
        answer = running.result()
        assert server.wait() == 0
    response = check_stream(read_frames(answer.content)) if streamed else ok(answer)
    assert text_of(response) == "before after"
    server.start()
    with server.http() as http:
        assert ok(http.get(f"/responses/{response['id']}")) == response
        assert texts_of(items_of(http, conversation_id)) == ["Before", f"gate={tag}", "before after"]


def test_a_turn_whose_client_has_left_is_finished_after_the_signal(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        with http.stream("POST", "/responses", json=request("slow", f"gate={tag}", stream=True)) as answer:
            next(answer.iter_raw())
            model.wait_until_reached(tag)
        response_id = only_response(http)["id"]
        server.ask_to_stop()
        wait_for(server, "running turns")
        model.open_gate(tag)
        assert server.wait() == 0
    server.start()
    with server.http() as http:
        assert text_of(ok(http.get(f"/responses/{response_id}"))) == "before after"


@STREAMED
def test_a_hung_turn_is_failed_within_the_time_to_shut_down(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    server: StackServer = new_server(server=settings(PATIENCE)).start()
    with server.http() as http:
        conversation_id = create(http, [user("Before")])
        running = pool.submit(post, http, "hang", f"gate={tag}", conversation=conversation_id, stream=streamed)
        model.wait_until_reached(tag)
        with ended_within(PATIENCE + MARGIN):
            assert server.stop() == 0
        answer = running.result()
    if streamed:
        assert "event: error" in answer.text
    else:
        refused(answer, 503, "server_error", None, "server_error")
    assert "Traceback" not in server.log, server.log
    server.start()
    with server.http() as http:
        response = only_response(http)
        assert (response["status"], response["error"]) == ("failed", STOPPED)
        assert texts_of(items_of(http, conversation_id)) == ["Before"]
        assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=2 last=Next"


def test_a_hung_turn_whose_client_has_left_is_failed_within_the_time_to_shut_down(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server(server=settings(PATIENCE)).start()
    with server.http() as http:
        with http.stream("POST", "/responses", json=request("hang", f"gate={tag}", stream=True)) as answer:
            next(answer.iter_raw())
            model.wait_until_reached(tag)
        response_id = only_response(http)["id"]
        with ended_within(PATIENCE + MARGIN):
            assert server.stop() == 0
    server.start()
    with server.http() as http:
        assert ok(http.get(f"/responses/{response_id}"))["error"] == STOPPED


def test_a_second_signal_ends_a_hung_turn_at_once(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    server: StackServer = new_server(server=settings(2 * MARGIN)).start()
    with server.http() as http:
        running = pool.submit(post, http, "hang", f"gate={tag}")
        model.wait_until_reached(tag)
        server.ask_to_stop()
        wait_for(server, "shutting down")
        with ended_within(MARGIN):
            assert server.stop() == 0
        refused(running.result(), 503, "server_error", None, "server_error")
    server.start()
    with server.http() as http:
        assert only_response(http)["error"] == STOPPED


def test_signals_while_the_last_is_closed_shorten_it_and_do_not_kill(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server(server=settings(2 * MARGIN)).start()
    with server.http() as http:
        with http.stream("POST", "/responses", json=request("hang", f"gate={tag}", stream=True)) as answer:
            next(answer.iter_raw())
            model.wait_until_reached(tag)
        response_id = only_response(http)["id"]
    server.ask_to_stop()
    wait_until_nobody_listens(server)  # what is left is to close the stack, for which the turn would take its time
    with ended_within(MARGIN):
        while not server.has_ended:
            server.ask_to_stop()
            time.sleep(0.001)  # not to be the machine's only work
    assert server.wait() == 0
    assert "Traceback" not in server.log, server.log
    server.start()
    with server.http() as http:
        assert ok(http.get(f"/responses/{response_id}"))["error"] == STOPPED


def wait_until_nobody_listens(server: StackServer) -> None:
    """Wait until the server takes no connections."""
    deadline = time.monotonic() + MARGIN
    while time.monotonic() < deadline:
        try:
            httpx2.get(f"{server.base_url}/health").raise_for_status()
        except httpx2.TransportError:
            return
        pause()
    raise AssertionError("the server still listens")


def test_an_idle_server_ends_at_once(new_server: Any) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        turn(http)
        with ended_within(MARGIN):
            assert server.stop() == 0
    with pytest.raises(httpx2.ConnectError), server.http() as http:
        http.get("/health")
