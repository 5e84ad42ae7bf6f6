"""What goes wrong at a model server that speaks the Responses API, and what becomes of the turn."""

from __future__ import annotations

import httpx2
import pytest

from harness.answers import refused
from harness.conversations import create, items_of
from harness.turns import post, stream, turn
from scripted_model import ScriptedModel

CASES = {
    "status-400": 400,
    "status-401": 424,
    "status-404": 400,
    "status-429": 429,
    "status-500": 502,
    "html": 502,
    "error-mid": 502,
    "limit-mid": 429,
    "drop-mid": 502,
    "no-terminal": 502,
    "unknown-item": 502,
}
"""By what the upstream does, the status of a plain answer."""


@pytest.mark.parametrize(("mode", "status"), CASES.items())
def test_a_failure_has_the_status_that_it_has_over_chat_completions(
    http: httpx2.Client, mode: str, status: int
) -> None:
    conversation_id = create(http)
    answer = post(http, f"upstream/{mode}", "Hi", conversation=conversation_id)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert items_of(http, conversation_id) == []
    turn(http, "upstream/echo", "Go on", conversation=conversation_id)


@pytest.mark.parametrize("mode", CASES)
def test_a_failure_ends_a_stream_and_keeps_nothing(http: httpx2.Client, mode: str) -> None:
    conversation_id = create(http)
    failed = stream(http, f"upstream/{mode}", "Hi", conversation=conversation_id)
    assert failed.response["status"] == "failed"
    assert failed.types[-2:] == ["error", "failed"]
    limited = mode in ("status-429", "limit-mid")
    rejected = mode == "status-400"
    code = "rate_limit_exceeded" if limited else "invalid_prompt" if rejected else "server_error"
    assert failed.response["error"]["code"] == code
    assert items_of(http, conversation_id) == []
    turn(http, "upstream/echo", "Go on", conversation=conversation_id)


def test_what_the_upstream_says_is_told(http: httpx2.Client) -> None:
    failed = stream(http, "upstream/error-mid", "Hi").response
    assert "The GPU is gone." in failed["error"]["message"]
    message = refused(post(http, "upstream/status-400", "Hi"), 400, "invalid_value", "temperature")
    assert message == "Invalid 'temperature': too hot."


def test_a_caller_that_leaves_makes_the_upstream_stop(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    body = {"model": "upstream/hang-mid", "input": f"gate={tag} tag={tag}", "stream": True, "store": False}
    with http.stream("POST", "/responses", json=body) as answer:
        assert answer.status_code == 200
        model.wait_until_reached(tag)
    [request] = model.requests(tag=tag, count=1, ended=True)
    assert request.outcome == "disconnected"
