"""Model servers that fail: each way has its own clear error, the turn is stored as failed, and nothing else is left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.conversations import create, items_of, texts_of, user
from harness.event_stream import check_stream
from harness.server import UPSTREAM_KEY, StackServer
from harness.turns import post, stream, text_of, turn
from scripted_model import ScriptedModel
from scripted_model.answers import Answer, text


@dataclass(frozen=True)
class Failure:
    """How a model fails.

    Attributes:
        status: Of the plain answer.
        code: Likewise; ``response_code`` is that of the failed response.
        message: What both say.
        said: What was told before the failure, in a stream.
    """

    model: str
    status: int
    code: str | None
    response_code: str
    message: str
    param: str | None = None
    kind: str = "server_error"
    said: str = ""


def _broken(model: str, message: str, said: str = "", status: int = 502) -> Failure:
    return Failure(model, status, "server_error", "server_error", message, said=said)


REJECTED = "invalid_request_error"
DENIED = "The model server refused this server's credentials ({})."
CUT = "The model server closed the connection in mid-answer."
HALFWAY = "The model server ended its answer halfway."
SAID = "Once upon "

FAILURES = [
    Failure("status-400", 400, "invalid_value", "invalid_prompt", "Invalid 'temperature': too hot.", "temperature",
            REJECTED),
    Failure("status-401", 424, "upstream_authentication_failed", "server_error", DENIED.format(401), None,
            "upstream_error"),
    Failure("status-403", 424, "upstream_authentication_failed", "server_error", DENIED.format(403), None,
            "upstream_error"),
    Failure("status-404", 400, "model_not_found", "server_error", "The model 'status-404' does not exist.", "model",
            REJECTED),
    Failure("status-429", 429, "rate_limit_exceeded", "rate_limit_exceeded", "Rate limit reached.", None, "requests"),
    Failure("quota", 429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota.", None,
            "insufficient_quota"),
    _broken("status-500", "The model server failed (500): The server had an error."),
    _broken("status-503", "The model server failed (503): The engine is overloaded."),
    _broken("html-502", "The model server failed (502)."),
    _broken("redirect", "The model server answered with status 307, which is no answer: check its base_url."),
    _broken("error-200", "The model server failed (502): Upstream is down."),
    _broken("drop", CUT),
    _broken("hasty/hang", "The model server did not answer in time.", status=504),
    Failure("absent", 503, "server_error", "server_error", "The model server could not be reached."),
]  # fmt: skip
"""Failures that are the same whether the answer is streamed or not."""

PLAIN = [
    *FAILURES,
    _broken("html", "The model server's answer is not JSON."),
    _broken("empty-body", "The model server's answer is not JSON."),
    _broken("garbage", "The model server's answer is not JSON."),
    _broken("drop-mid", CUT),
    _broken("hasty/hang-mid", "The model server did not answer in time.", status=504),
]
STREAMED = [
    *FAILURES,
    _broken("html", "The model server's answer is not an event stream."),
    _broken("empty-body", "The model server's answer is not an event stream."),
    _broken("garbage", "The model server's stream is not of chat completion chunks."),
    _broken("garbage-mid", "The model server's stream is not of chat completion chunks.", SAID),
    _broken("drop-mid", CUT, SAID),
    _broken("cut-short", HALFWAY, SAID),
    _broken("error-mid", "The model server failed (500): The GPU is gone.", SAID),
    Failure("limit-mid", 200, None, "rate_limit_exceeded", "Too fast.", said=SAID),
    _broken("hasty/hang-mid", "The model server did not answer in time.", SAID),
]


def newest(http: httpx2.Client) -> dict[str, Any]:
    """The response that was made last."""
    response: dict[str, Any] = ok(http.get("/responses", params={"limit": 1}))["data"][0]
    return response


def check_unharmed(http: httpx2.Client, conversation_id: str) -> None:
    """The conversation holds what it held, and takes turns."""
    assert texts_of(items_of(http, conversation_id)) == ["Before"]
    assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=2 last=Next"


@pytest.mark.parametrize("failure", PLAIN, ids=lambda failure: failure.model)
def test_a_failing_model_is_an_error_and_a_stored_failed_response(varied: httpx2.Client, failure: Failure) -> None:
    conversation_id = create(varied, [user("Before")])
    answer = post(varied, failure.model, "Hello", conversation=conversation_id)
    message = refused(answer, failure.status, failure.code, failure.param, failure.kind)
    assert message == failure.message
    response = newest(varied)
    assert (response["status"], response["model"]) == ("failed", failure.model)
    assert response["error"] == {"code": failure.response_code, "message": failure.message}
    assert (response["output"], response["usage"], response["completed_at"]) == ([], None, None)
    assert response["conversation"] == {"id": conversation_id}
    check_unharmed(varied, conversation_id)


@pytest.mark.parametrize("failure", STREAMED, ids=lambda failure: failure.model)
def test_a_stream_of_a_failing_model_ends_in_an_error_and_a_stored_failed_response(
    varied: httpx2.Client, failure: Failure
) -> None:
    conversation_id = create(varied, [user("Before")])
    told = stream(varied, failure.model, "Hello", conversation=conversation_id)
    assert "".join(event["delta"] for event in told.of_type("output_text.delta")) == failure.said
    assert told.types[-2:] == ["error", "failed"]
    assert told.response["error"] == {"code": failure.response_code, "message": failure.message}
    assert newest(varied) == told.response
    check_unharmed(varied, conversation_id)


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("model_id", ["status-500", "drop-mid", "error-mid"])
def test_a_failure_in_a_conversation_unlocks_it_whether_stored_or_not(
    http: httpx2.Client, model_id: str, store: bool
) -> None:
    conversation_id = create(http, [user("Before")])
    for _ in range(2):
        assert post(http, model_id, conversation=conversation_id, store=store).status_code == 502
        assert stream(http, model_id, conversation=conversation_id, store=store).response["status"] == "failed"
    check_unharmed(http, conversation_id)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_of_a_turn_that_is_not_stored_leaves_nothing(http: httpx2.Client, streamed: bool) -> None:
    before = turn(http)["id"]
    if streamed:
        stream(http, "status-500", store=False)
    else:
        refused(post(http, "status-500", store=False), 502, "server_error", None, "server_error")
    assert newest(http)["id"] == before


def test_a_failure_in_a_chain_leaves_the_chain_as_it_was(http: httpx2.Client) -> None:
    first = turn(http)
    assert stream(http, "drop-mid", previous_response_id=first["id"]).response["status"] == "failed"
    assert text_of(turn(http, "echo", "Again", previous_response_id=first["id"])) == "seen=3 last=Again"


def test_a_rate_limit_keeps_retry_after(http: httpx2.Client) -> None:
    assert post(http, "status-429").headers["retry-after"] == "7"


def test_an_exhausted_quota_is_not_to_be_retried(http: httpx2.Client) -> None:
    assert post(http, "quota").headers["x-should-retry"] == "false"


def test_a_model_server_that_is_away_is_to_be_asked_again_soon(varied: httpx2.Client) -> None:
    assert post(varied, "absent").headers["retry-after"] == "1"


@pytest.mark.parametrize("model_id", ["garbage", "html", "empty-body"])
def test_what_clients_would_retry_in_vain_is_marked(http: httpx2.Client, model_id: str) -> None:
    assert post(http, model_id).headers["x-should-retry"] == "false"


@pytest.mark.parametrize("model_id", ["status-400", "status-401", "status-403", "status-404"])
def test_what_clients_would_retry_in_vain_is_no_5xx(http: httpx2.Client, model_id: str) -> None:
    assert 400 <= post(http, model_id).status_code < 500


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
def test_the_upstream_key_is_in_no_answer_however_the_model_server_quotes_it(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str, status: int, streamed: bool
) -> None:
    quoting = {"error": {"message": f"Bad key {UPSTREAM_KEY}, at {model.address}", "type": "x", "param": None}}
    model.script(Answer(status=status, body=json.dumps(quoting)), tag=tag)
    answer = post(http, "scripted", f"tag={tag}", stream=streamed)
    kept = http.get("/responses", params={"limit": 1})
    for shown in (answer.text, kept.text, str(answer.headers), server.log):
        assert UPSTREAM_KEY not in shown
        assert model.address.removeprefix("http://") not in shown.replace(model.base_url, "") or shown is server.log


@pytest.mark.parametrize("streamed", [False, True])
def test_the_upstream_key_is_in_no_answer_when_it_is_quoted_in_an_answer_of_status_200(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    body = json.dumps({"error": {"message": f"Bad key {UPSTREAM_KEY}", "code": 500}})
    model.script(Answer(body=body), tag=tag)
    assert UPSTREAM_KEY not in post(http, "scripted", f"tag={tag}", stream=streamed).text


def test_a_model_server_is_asked_again_for_what_it_failed_and_the_caller_sees_one_turn(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    model.script(Answer(status=503, body="{}"), Answer(text("Better.")), tag=tag)
    assert post(http, "scripted", f"tag={tag}", conversation=conversation_id).status_code == 502
    response = turn(http, "scripted", f"tag={tag}", conversation=conversation_id)
    assert texts_of(items_of(http, conversation_id)) == [f"tag={tag}", "Better."]
    assert text_of(response) == "Better."


BAD_CHUNKS: list[object] = [
    {"choices": "x"},
    {"choices": [7]},
    {"choices": [{"index": 0, "delta": {"content": 7}}]},
    {"choices": [{"index": 0, "delta": "x"}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [7]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": {"a": 1}}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": 7}}]}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_content": ["x"]}}]},
    {"choices": [{"index": 0, "delta": {"refusal": {"x": 1}}}]},
    {"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [7]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": 7}]},
    {"choices": [], "usage": 7},
]


@pytest.mark.parametrize("chunk", BAD_CHUNKS, ids=json.dumps)
def test_a_chunk_of_the_wrong_shape_fails_the_turn_and_nothing_else(
    http: httpx2.Client, model: ScriptedModel, tag: str, chunk: object
) -> None:
    conversation_id = create(http, [user("Before")])
    broken = Answer(
        body=f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': SAID}}]})}\n\n"
        f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n",
        content_type="text/event-stream",
    )
    model.script(broken, tag=tag)
    told = stream(http, "scripted", f"tag={tag}", conversation=conversation_id)
    assert told.response["error"]["code"] == "server_error"
    check_unharmed(http, conversation_id)


@pytest.mark.parametrize(
    "completion",
    [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": 7}]}, {"choices": [{"message": {"content": 7}}]},
     {"choices": None}, [], "x", 7],
    ids=json.dumps,
)  # fmt: skip
def test_a_completion_of_the_wrong_shape_is_no_fault_of_the_server(
    http: httpx2.Client, model: ScriptedModel, tag: str, completion: object
) -> None:
    model.script(Answer(body=json.dumps(completion)), tag=tag)
    answer = post(http, "scripted", f"tag={tag}")
    assert answer.status_code == 502, answer.text
    assert answer.json()["error"]["type"] == "server_error"


def test_the_client_raises_the_error_that_fits(client: OpenAI) -> None:
    for model_id, error in {
        "status-400": openai.BadRequestError,
        "status-404": openai.BadRequestError,
        "status-429": openai.RateLimitError,
        "status-500": openai.InternalServerError,
        "garbage": openai.InternalServerError,
    }.items():
        with pytest.raises(error):
            client.responses.create(model=model_id, input="Hello")


def test_the_client_sees_the_error_and_the_failed_response_of_a_stream(client: OpenAI) -> None:
    events = list(client.responses.create(model="error-mid", input="Hello", stream=True))
    check_stream([event.to_dict() for event in events])
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    error, failed = events[-2:]
    assert error.type == "error"
    assert failed.type == "response.failed"
    assert failed.response.error is not None
    assert (error.code, error.message) == (failed.response.error.code, failed.response.error.message)
