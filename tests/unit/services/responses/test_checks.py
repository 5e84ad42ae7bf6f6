"""What a request may not ask for: each is refused by the name of the parameter, before anything is looked up."""

from __future__ import annotations

import pytest

from harness.event_stream import JsonObject
from llama_conversations.apis.inference import WireApi
from llama_conversations.errors import (
    InvalidParameter,
    MutuallyExclusiveParameters,
    RequestError,
    UnsupportedParameter,
)
from llama_conversations.services.responses.checks import check_request, check_wire
from llama_conversations.services.tools import ToolGroup, ToolServers
from unit.services.responses.support import NO_TOOLS, Tools, request

LOOK = {"type": "function", "name": "look"}
WRITE = {"type": "custom", "name": "write"}
GRAMMAR = {"type": "grammar", "syntax": "regex", "definition": "a+"}
MCP = {"type": "mcp", "server_label": "x", "server_url": "http://tools"}
SERVERS = ToolServers({"tools": Tools()}, {"docs": ToolGroup("tools")})


def check(*, servers: ToolServers = SERVERS, wire_api: WireApi = "chat", **fields: object) -> None:
    """All checks of a request."""
    asked = request(**fields)
    check_request(asked, servers)
    check_wire(asked, wire_api, servers.searches)


def refusal(**fields: object) -> RequestError:
    with pytest.raises(RequestError) as found:
        check(**fields)
    return found.value


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("moderation", {"moderation": {"model": "m"}}),
        ("reasoning.mode", {"reasoning": {"mode": "x"}}),
        ("reasoning.context", {"reasoning": {"context": "all_turns"}}),
        ("tools[1]", {"tools": [LOOK, {"type": "web_search"}]}),
        ("tools[0].format", {"tools": [WRITE | {"format": GRAMMAR}]}),
        ("tool_choice", {"tools": [LOOK], "tool_choice": {"type": "shell"}}),
        (
            "tool_choice.tools[0]",
            {
                "tools": [LOOK],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "web_search"}],
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
        {"background": True, "truncation": "auto", "context_management": [{"type": "compaction"}]},
        {"input": [], "prompt": {"id": "pmpt_1"}},
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        {"tools": [WRITE, WRITE | {"name": "w2", "format": {"type": "text"}}]},
        {"tools": [LOOK, WRITE], "tool_choice": {"type": "custom", "name": "write"}},
        {"tools": [MCP], "tool_choice": {"type": "mcp", "server_label": "x"}},
        {"tools": [MCP, MCP | {"server_label": "y"}], "tool_choice": "required"},
        {"tools": [{"type": "mcp", "server_label": "x", "connector_id": "docs"}]},
        {
            "tools": [LOOK, MCP],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "x"}]},
        },
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
    check(**fields)


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("conversation", {"conversation": "msg_1"}),
        ("conversation", {"conversation": {"id": ""}}),
        ("stream_options", {"stream_options": {}}),
        ("tools[1].name", {"tools": [LOOK, LOOK]}),
        ("tools[1].name", {"tools": [LOOK, WRITE | {"name": "look"}]}),
        ("tools[1].server_label", {"tools": [MCP, MCP]}),
        ("tools[0].connector_id", {"tools": [{"type": "mcp", "server_label": "x", "connector_id": "unknown"}]}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tools": [LOOK], "tool_choice": {"type": "mcp", "server_label": "x"}}),
        ("tool_choice", {"tools": [LOOK], "tool_choice": {"type": "custom", "name": "write"}}),
        (
            "tool_choice",
            {
                "tools": [MCP],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "mcp", "server_label": "y"}],
                },
            },
        ),
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


@pytest.mark.parametrize("where", [{}, {"server_url": "http://a", "connector_id": "docs"}])
def test_a_tool_server_is_named_in_one_way(where: JsonObject) -> None:
    error = refusal(tools=[{"type": "mcp", "server_label": "x", **where}])
    assert isinstance(error, InvalidParameter)
    assert (error.param, error.code) == ("tools[0]", "missing_required_parameter")


def test_tool_servers_need_a_provider_that_reaches_them() -> None:
    error = refusal(tools=[LOOK, MCP], servers=NO_TOOLS)
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "tools[1]"


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search"}, WRITE | {"format": GRAMMAR}]},
        {"tools": [LOOK], "tool_choice": {"type": "shell"}},
        {"reasoning": {"mode": "pro", "context": "all_turns"}},
        {
            "tools": [{"type": "web_search"}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]},
        },
    ],
)
def test_a_server_that_speaks_the_responses_api_is_told_what_only_it_can_do(fields: JsonObject) -> None:
    check(wire_api="responses", **fields)
    with pytest.raises(UnsupportedParameter):
        check(**fields)


def test_what_nobody_searches_is_refused_with_what_the_operator_can_do() -> None:
    assert "web_search provider" in str(refusal(tools=[{"type": "web_search_preview"}]))
    assert "vector stores" in str(refusal(tools=[{"type": "file_search"}]))
    assert str(refusal(tools=[{"type": "shell"}])) == "Tools of type 'shell' are not supported by this server."
    assert refusal(tools=[LOOK], tool_choice={"type": "web_search"}).param == "tool_choice"  # type: ignore[attr-defined]
