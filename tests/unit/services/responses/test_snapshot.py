"""The response object: every key that the API has, at every moment of a turn."""

from __future__ import annotations

import json

import orjson
import pytest

from harness.event_stream import JsonObject
from llama_conversations.services.responses.snapshot import (
    IN_PROGRESS,
    Outcome,
    failed_head,
    response_body,
    response_head,
)
from llama_conversations.wire.responses import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseError,
    Usage,
)
from unit.services.responses.support import ScriptedModel, turn_of

KEYS = {
    "id", "object", "created_at", "status", "completed_at", "background", "error", "incomplete_details", "instructions",
    "max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls", "previous_response_id",
    "reasoning", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier", "store",
    "temperature", "top_p", "top_logprobs", "presence_penalty", "frequency_penalty", "text", "tool_choice", "tools",
    "truncation", "usage",
    "metadata",
}  # fmt: skip
NEVER_NULL = {
    "id", "object", "created_at", "status", "model", "output", "parallel_tool_calls", "metadata", "tool_choice",
    "tools", "reasoning", "text", "service_tier", "store", "temperature", "top_p", "top_logprobs", "truncation",
}  # fmt: skip


SECRETIVE = {
    "type": "mcp",
    "server_label": "x",
    "server_url": "http://tools",
    "authorization": "secret",
    "headers": {"X-Key": "secret"},
}
REDACTED = {"type": "mcp", "server_label": "x", "server_url": "http://tools", "headers": {"X-Key": "<redacted>"}}


COST = Usage(
    input_tokens=3,
    input_tokens_details=InputTokensDetails(cached_tokens=1, cache_write_tokens=0),
    output_tokens=2,
    output_tokens_details=OutputTokensDetails(reasoning_tokens=1),
    total_tokens=5,
)


def body(outcome: Outcome = IN_PROGRESS, **fields: object) -> JsonObject:
    """A response, which is what its wire model would write of it."""
    turn = turn_of(ScriptedModel(), **fields)
    text = response_body(response_head(turn, outcome), outcome)
    response = Response.model_validate_json(text)
    assert response.id == turn.response_id
    assert response.model_dump_json(exclude_unset=True).encode() == text
    written: JsonObject = orjson.loads(text)
    return written


def test_a_response_has_every_key_and_null_only_where_the_api_has_it() -> None:
    shown = body()
    assert shown.keys() == KEYS
    assert not {name for name in NEVER_NULL if shown[name] is None}


def test_defaults_are_filled_in() -> None:
    shown = body(**dict.fromkeys(("temperature", "top_p", "tools", "tool_choice", "store", "metadata", "text")))
    expected = {
        "object": "response",
        "status": "in_progress",
        "background": False,
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_logprobs": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
        "output": [],
    }
    assert {name: shown[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"store": False}, {"store": False}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"metadata": {"größe": "1"}}, {"metadata": {"größe": "1"}}),
        ({"user": "u"}, {"user": "u"}),
        ({"instructions": "Be kind."}, {"instructions": "Be kind."}),
        ({"conversation": "conv_1"}, {"conversation": {"id": "conv_1"}}),
        ({"conversation": {"id": "conv_1"}}, {"conversation": {"id": "conv_1"}}),
        ({"previous_response_id": "resp_1"}, {"previous_response_id": "resp_1"}),
        (
            {"reasoning": {"effort": "low", "generate_summary": "auto"}},
            {"reasoning": {"effort": "low", "summary": "auto"}},
        ),
        (
            {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
            {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
        ),
        ({"text": {"verbosity": "high"}}, {"text": {"format": {"type": "text"}, "verbosity": "high"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "x": 1}}},
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "x": 1}, "verbosity": "medium"}},
        ),
        (
            {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}},
            {
                "tools": [{"type": "function", "name": "f", "description": None, "parameters": None, "strict": False}],
                "tool_choice": {"type": "function", "name": "f"},
            },
        ),
        ({"prompt": {"id": "pmpt_1", "version": "2"}}, {"prompt": {"id": "pmpt_1", "version": "2"}}),
        ({"background": True, "store": False}, {"background": True}),
        ({"tools": [SECRETIVE]}, {"tools": [REDACTED]}),
        ({"tools": [{"type": "web_search", "filters": None}]}, {"tools": [{"type": "web_search", "filters": None}]}),
        ({"service_tier": "flex", "max_tool_calls": 3}, {"service_tier": "flex", "max_tool_calls": 3}),
    ],
)
def test_what_was_asked_is_echoed(fields: JsonObject, shown: JsonObject) -> None:
    written = body(**fields)
    assert {name: written[name] for name in shown} == shown


def test_what_cannot_be_null_is_absent_where_it_is_unused_and_what_is_no_part_of_a_response_is_not_echoed() -> None:
    asked = {"include": ["reasoning.encrypted_content"], "stream": True, "stream_options": {}}
    assert not {"conversation", "prompt", "user", *asked} & body(**asked).keys()


def test_only_a_completed_response_was_completed_at_a_time() -> None:
    error = ResponseError(code="server_error", message="m")
    outcomes = {
        "completed": Outcome("completed", usage=COST),
        "incomplete": Outcome("incomplete", incomplete=IncompleteDetails(reason="max_output_tokens")),
        "failed": Outcome("failed", error=error),
        "in_progress": IN_PROGRESS,
    }
    for status, outcome in outcomes.items():
        shown = body(outcome)
        assert shown["status"] == status
        assert (shown["completed_at"] is not None) == (status == "completed")
        assert shown["usage"] == (COST.model_dump() if status == "completed" else None)
        assert shown["error"] == ({"code": "server_error", "message": "m"} if status == "failed" else None)
    assert isinstance(body(Outcome("completed"))["completed_at"], int)


def test_the_output_is_the_very_text_that_was_stored() -> None:
    outcome = Outcome("completed", ['{"id":"a","n":1.0}', '{"id":"b"}'])
    turn = turn_of(ScriptedModel())
    assert response_body(response_head(turn, outcome), outcome).endswith(b',"output":[{"id":"a","n":1.0},{"id":"b"}]}')


def test_a_response_that_was_left_behind_fails_and_keeps_all_else() -> None:
    turn = turn_of(ScriptedModel(), metadata={"a": "größe"}, conversation="conv_1")
    head = response_head(turn, IN_PROGRESS)
    failed = json.loads(failed_head(head, ResponseError(code="server_error", message="m")))
    expected = json.loads(head) | {"status": "failed", "error": {"code": "server_error", "message": "m"}}
    assert failed == expected
    assert list(failed) == list(expected)
