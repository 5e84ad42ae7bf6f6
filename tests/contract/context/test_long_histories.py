"""Histories that do not fit: truncated, compacted in a turn or on request, and counted."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.conversations import create, items_of, user
from harness.turns import WEATHER, input_items, messages_for, post, sent, stream, text_of, turn
from scripted_model import Answer, ScriptedModel
from scripted_model.answers import text

LONG = "word " * 400
"""About 500 tokens."""


def compaction(threshold: int = 1000) -> list[dict[str, Any]]:
    """The parameter that asks for it."""
    return [{"type": "compaction", "compact_threshold": threshold}]


def test_truncation_drops_the_oldest_exchanges_and_keeps_instructions_and_pairs(
    short: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    history = [
        {"role": "system", "content": "Rules"},
        user(f"first {LONG}"),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        user("second"),
        user(f"third tag={tag}"),
    ]
    response = turn(short, "echo", history, truncation="auto")
    assert response["truncation"] == "auto"
    assert [message["content"] for message in messages_for(model, tag)] == ["Rules", "second", f"third tag={tag}"]
    assert len(input_items(short, response["id"])) == len(history)


def test_without_truncation_all_is_sent_that_may_fit(short: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(short, [user(LONG), user("x" * 6000), user(LONG)])  # about 2500 tokens, 801 words
    response = turn(short, "echo", f"tag={tag}", conversation=conversation_id, truncation="disabled")
    assert response["truncation"] == "disabled"
    assert len(messages_for(model, tag)) == 4


def test_without_truncation_what_cannot_fit_is_refused_before_the_model_is_asked(
    short: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    fields: dict[str, Any] = {"conversation": create(short, [user(LONG), user(LONG), user(LONG)])}
    before = ok(short.get("/responses"))["first_id"]
    for how in ({}, {"stream": True}, {"background": True}, {"truncation": None}):
        answer = post(short, "echo", f"tag={tag}", **fields, **how)
        message = refused(answer, 400, "context_length_exceeded", "input")
        assert "at least 1201 tokens" in message
        assert "1000" in message
    assert model.requests(tag=tag) == []
    assert ok(short.get("/responses"))["first_id"] == before
    assert text_of(turn(short, "echo", f"tag={tag}", **fields, truncation="auto"))


def test_truncation_leaves_what_is_stored_alone(short: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(short, [user(LONG)])
    for _ in range(3):
        turn(short, "echo", f"tag={tag}", conversation=conversation_id, truncation="auto")
    assert len(items_of(short, conversation_id)) == 7
    assert sent(model, tag, 3)[2].body["messages"][0]["content"] == f"tag={tag}"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_context_that_the_model_server_finds_too_long_is_a_clear_error(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:

    error = (
        '{"error": {"message": "This model\'s maximum context length is 10 tokens.", "type": "invalid_request_error"'
    )
    error += ', "param": "messages", "code": "context_length_exceeded"}}'
    model.script(Answer(status=400, body=error), tag=tag)
    if streamed:
        told = stream(http, "scripted", f"tag={tag}")
        assert "maximum context length" in told.response["error"]["message"]
    else:
        answer = post(http, "scripted", f"tag={tag}")
        assert "maximum context length" in refused(answer, 400, "context_length_exceeded", "input")


def test_a_context_past_the_threshold_is_compacted_and_the_conversation_goes_on_from_the_summary(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    fields: dict[str, Any] = {"conversation": conversation_id, "context_management": compaction()}
    for number in range(7):
        said = stream(http, "echo", f"{number} {LONG[:900]} tag={tag}", **fields)
        kinds = [item["type"] for item in said.response["output"]]
        assert kinds == (["compaction", "message"] if number in (2, 4, 6) else ["message"]), number
    assert [item["type"] for item in items_of(http, conversation_id)].count("compaction") == 3
    requests = [request.body["messages"] for request in model.requests(tag=tag)]
    assert max(len(messages) for messages in requests) < 6
    last = requests[-1]
    assert [message["role"] for message in last] == ["system", "user"]
    assert last[0]["content"].startswith("Summary of the conversation so far:")


def test_a_compaction_is_opaque_and_of_this_server(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    first = turn(http, "echo", f"The secret word is plum. {LONG} {LONG}")
    model.script(text("They said plum."), tag="")  # the model is asked for the summary without the words of the turn
    model.script(text("Plum!"), tag=tag)
    fields: dict[str, Any] = {"previous_response_id": first["id"], "context_management": compaction()}
    second = turn(http, "scripted", f"Which word? tag={tag}", **fields)
    [item, _] = second["output"]
    assert item.keys() == {"id", "type", "encrypted_content"}
    assert "plum" not in item["encrypted_content"]
    asked = model.requests(tag=tag)[-1].body["messages"]
    assert asked == [
        {"role": "system", "content": "Summary of the conversation so far:\n\nThey said plum."},
        {"role": "user", "content": f"Which word? tag={tag}"},
    ]
    assert second["usage"]["total_tokens"] > 0
    foreign = [{"type": "compaction", "encrypted_content": "gAAAA-of-another-server"}, user("Go on")]
    assert text_of(turn(http, "echo", foreign)) == "seen=1 last=Go on"


def test_a_short_context_is_not_compacted(http: httpx2.Client) -> None:
    response = turn(http, "echo", [user("a"), user("b")], context_management=compaction())
    assert [item["type"] for item in response["output"]] == ["message"]


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ([], "array_below_min_length", "context_management"),
        ([{"type": "other"}], "invalid_value", "context_management[0].type"),
        (compaction(999), "integer_below_min_value", "context_management[0].compact_threshold"),
    ],
    ids=str,
)
def test_context_management_that_is_wrong_is_refused(http: httpx2.Client, value: object, code: str, param: str) -> None:
    refused(post(http, context_management=value), 400, code, param)


def test_a_compaction_is_asked_for_with_the_parameters_that_came(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    fields = {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "service_tier": "flex"}
    compact(http, model="echo", input=[user(f"tag={tag}"), {"role": "assistant", "content": "Hi"}], **fields)
    [asked] = [each.body for each in model.requests() if f"tag={tag}" in each.raw]
    assert {name: asked[name] for name in fields} == fields


def compact(http: httpx2.Client, **fields: object) -> dict[str, Any]:
    """Compact on request."""
    compacted: dict[str, Any] = ok(http.post("/responses/compact", json=fields))
    assert compacted["object"] == "response.compaction"
    assert compacted["id"].startswith("resp_")
    assert compacted["usage"]["total_tokens"] > 0
    return compacted


@pytest.mark.parametrize("source", ["input", "previous_response_id"])
def test_a_context_is_compacted_on_request_and_continued_from_the_output(
    http: httpx2.Client, model: ScriptedModel, tag: str, source: str
) -> None:
    history: list[Any] = [user("Hello"), {"role": "assistant", "content": "Hi"}, user("And now?")]
    fields: dict[str, Any] = {"input": history}
    if source == "previous_response_id":
        fields = {"previous_response_id": turn(http, "echo", "Hello")["id"], "input": [user("And now?")]}
    compacted = compact(http, model="echo", instructions="Keep names.", **fields)
    assert [item["type"] for item in compacted["output"]] == ["message", "compaction"]
    assert compacted["output"][0]["content"] == [{"type": "input_text", "text": "And now?"}]
    assert ok(http.get("/responses", params={"limit": 1}))["data"][0]["id"] != compacted["id"]
    after = turn(http, "echo", [*compacted["output"], user(f"Next tag={tag}")])
    roles = [message["role"] for message in messages_for(model, tag)]
    assert roles == ["system", "user", "user"]
    follow_up = turn(http, "echo", f"More tag={tag}-2", previous_response_id=after["id"])
    assert [message["role"] for message in messages_for(model, f"{tag}-2")] == [*roles, "assistant", "user"]
    assert follow_up["status"] == "completed"


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"input": "x"}, 400, "missing_required_parameter", "model"),
        ({"model": "echo"}, 400, "missing_required_parameter", "input"),
        ({"model": "no-such", "input": "x"}, 400, "model_not_found", "model"),
        ({"model": "echo", "input": "x", "conversation": "conv_1"}, 400, "unknown_parameter", "conversation"),
        (
            {"model": "echo", "previous_response_id": "resp_" + "0" * 50},
            400,
            "previous_response_not_found",
            "previous_response_id",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_compacted_is_refused(
    http: httpx2.Client, fields: dict[str, Any], status: int, code: str, param: str
) -> None:
    refused(http.post("/responses/compact", json=fields), status, code, param)


def test_the_official_client_compacts_and_counts(client: OpenAI, strict_client: OpenAI) -> None:
    compacted = client.responses.compact(model="echo", input="Hello")
    assert compacted.output[-1].type == "compaction"
    assert strict_client.responses.input_tokens.count(model="echo", input="Hello").input_tokens > 0


def count(http: httpx2.Client, **fields: object) -> int:
    """The tokens of what a turn would be, estimated."""
    answer = http.post("/responses/input_tokens", json={"model": "echo", **fields})
    counted = ok(answer)
    assert counted.keys() == {"object", "input_tokens"}
    assert counted["object"] == "response.input_tokens"
    assert answer.headers["x-input-tokens-estimated"] == "true"
    tokens: int = counted["input_tokens"]
    return tokens


def test_input_tokens_are_estimated_where_the_model_server_has_no_counter(http: httpx2.Client) -> None:
    hello = count(http, input="Hello")
    assert 1 <= hello < 20
    assert count(http, input=LONG) > 300
    assert count(http, input="Hello", instructions=LONG) > hello + 300
    assert count(http, input="Hello", tools=[WEATHER]) > hello
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object", "description": LONG}}
    assert count(http, input="Hello", text={"format": schema}) > hello + 300
    conversation_id = create(http, [user(LONG)])
    assert count(http, input="Hello", conversation=conversation_id) > hello + 300
    assert count(http, conversation={"id": conversation_id}) > 300
    first = turn(http, "echo", LONG)
    assert count(http, input="Hello", previous_response_id=first["id"]) > hello + 600


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"input": "x"}, 400, "missing_required_parameter", "model"),
        ({"model": "no-such", "input": "x"}, 400, "model_not_found", "model"),
        ({"model": "echo", "conversation": "conv_" + "0" * 48}, 404, None, None),
        (
            {"model": "echo", "conversation": "conv_1", "previous_response_id": "resp_1"},
            400,
            "mutually_exclusive_parameters",
            None,
        ),
        ({"model": "echo", "input": "x", "nonsense": 1}, 400, "unknown_parameter", "nonsense"),
        ({"model": "echo", "input": "x", "personality": "dry"}, 400, "unsupported_parameter", "personality"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_counted_is_refused(
    http: httpx2.Client, fields: dict[str, Any], status: int, code: str | None, param: str | None
) -> None:
    refused(http.post("/responses/input_tokens", json=fields), status, code, param)
