"""What a request may not ask for: each is refused by the name of the parameter, before anything is looked up."""

from __future__ import annotations

import pytest

from harness.event_stream import JsonObject
from llama_conversations.errors import (
    InvalidParameter,
    MutuallyExclusiveParameters,
    RequestError,
    UnsupportedParameter,
)
from llama_conversations.services.responses.checks import check_request
from unit.services.responses.support import request

LOOK = {"type": "function", "name": "look"}
MCP = {"type": "mcp", "server_label": "x"}


def refusal(**fields: object) -> RequestError:
    with pytest.raises(RequestError) as found:
        check_request(request(**fields))
    return found.value


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("background", {"background": True}),
        ("truncation", {"truncation": "auto"}),
        ("prompt", {"prompt": {"id": "pmpt_1"}}),
        ("context_management", {"context_management": [{"type": "compaction"}]}),
        ("moderation", {"moderation": {"model": "m"}}),
        ("reasoning.mode", {"reasoning": {"mode": "x"}}),
        ("reasoning.context", {"reasoning": {"context": "all_turns"}}),
        ("stream_options.include_obfuscation", {"stream": True, "stream_options": {"include_obfuscation": True}}),
        ("tools[1]", {"tools": [LOOK, {"type": "web_search"}]}),
        ("tool_choice", {"tools": [LOOK], "tool_choice": MCP}),
        (
            "tool_choice.tools[0]",
            {
                "tools": [LOOK],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [MCP],
                },
            },
        ),
    ],
)
def test_what_is_not_built_is_refused_by_name(param: str, fields: JsonObject) -> None:
    error = refusal(**fields)
    assert isinstance(error, UnsupportedParameter)
    assert error.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"background": False, "truncation": "disabled", "prompt": None, "moderation": None},
        {"reasoning": {"context": "auto", "effort": "low", "summary": "auto"}},
        {"stream": True, "stream_options": {}},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"tools": [LOOK], "tool_choice": "required"},
        {"tools": [LOOK], "tool_choice": {"type": "function", "name": "look"}},
        {
            "tools": [LOOK],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
        },
        {"tool_choice": "none"},
        {"input": [], "conversation": "conv_1"},
        {"input": "", "previous_response_id": "resp_1"},
        {"conversation": {"id": "conv_1"}},
    ],
)
def test_what_can_be_served_passes(fields: JsonObject) -> None:
    check_request(request(**fields))


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("conversation", {"conversation": "msg_1"}),
        ("conversation", {"conversation": {"id": ""}}),
        ("stream_options", {"stream_options": {}}),
        ("tools[1].name", {"tools": [LOOK, LOOK]}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tools": [LOOK], "tool_choice": {"type": "function", "name": "tell"}}),
        (
            "tool_choice",
            {
                "tools": [LOOK],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "x"}]},
            },
        ),
        (
            "tool_choice",
            {
                "tools": [LOOK],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function"}]},
            },
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(param: str, fields: JsonObject) -> None:
    error = refusal(**fields)
    assert isinstance(error, InvalidParameter)
    assert (error.param, error.code) == (param, "invalid_value")


@pytest.mark.parametrize("empty", ["", []])
def test_an_input_may_be_empty_only_where_there_is_something_to_continue(empty: object) -> None:
    error = refusal(input=empty)
    assert isinstance(error, InvalidParameter)
    assert (error.param, error.code) == ("input", "missing_required_parameter")


def test_a_turn_continues_a_conversation_or_a_response() -> None:
    error = refusal(conversation="conv_1", previous_response_id="resp_1")
    assert isinstance(error, MutuallyExclusiveParameters)
    assert str(error).startswith("Mutually exclusive parameters: 'previous_response_id' and 'conversation'.")
