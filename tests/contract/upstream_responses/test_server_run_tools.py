"""Tools that this server runs for a model whose server speaks the Responses API: functions are all that it sees."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from harness.conversations import create, items_of, user
from harness.tools import mcp, of_type, script, types_of
from harness.turns import WEATHER, sent, stream, turn
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel
from scripted_model.answers import delta, finish, tool_call

ADD = ("add", {"a": 2, "b": 3})
SEARCH = {"type": "web_search"}
STREAMED = pytest.mark.parametrize("take", [turn, lambda *a, **k: stream(*a, **k).response], ids=["plain", "streamed"])


def told(model: ScriptedModel, tag: str, count: int) -> list[dict[str, Any]]:
    """The bodies of the requests that the upstream got."""
    requests = sent(model, tag, count)
    assert {request.path for request in requests} == {"/v1/responses"}
    return [request.body for request in requests]


def test_tools_of_the_same_name_are_told_apart_in_this_turn_and_the_next(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    fields = {"tools": [mcp(mcp_server.url(), label, allowed_tools=["add"]) for label in ("one", "two")]}
    response = turn(http, "upstream/scripted", script(model, tag, [("two__add", ADD[1])], "5", "5."), **fields)
    [call] = of_type(response, "mcp_call")
    assert (call["server_label"], call["name"], call["output"]) == ("two", "add", "5")
    turn(http, "upstream/scripted", f"Sure? tag={tag}", previous_response_id=response["id"], **fields)
    for body in told(model, tag, 3)[1:]:
        assert [item["name"] for item in body["input"] if item["type"] == "function_call"] == ["two__add"]


@STREAMED
def test_a_call_is_made_here_and_told_as_a_functions_in_this_turn_and_the_next(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, take: Any
) -> None:
    tools = [WEATHER, mcp(mcp_server.url(tag=tag), allowed_tools=["add"]), SEARCH]
    conversation_id = create(http)
    fields: dict[str, Any] = {"tools": tools, "conversation": conversation_id}
    response = take(http, "upstream/scripted", script(model, tag, [ADD], "It is 5.", "Sure."), **fields)
    assert types_of(response) == ["mcp_list_tools", "mcp_call", "message"]
    listed, call, message = response["output"]
    assert [tool["name"] for tool in listed["tools"]] == ["add"]
    assert (call["status"], call["name"], call["output"], call["error"]) == ("completed", "add", "5", None)
    assert json.loads(call["arguments"]) == ADD[1]
    assert call["id"].startswith("mcp_")
    assert message["id"].startswith("msg_up")
    assert response["tools"][2] == SEARCH
    assert items_of(http, conversation_id)[1:] == response["output"]
    take(http, "upstream/scripted", f"Sure? tag={tag}", **fields)
    first, second, third = told(model, tag, 3)
    assert [(tool["type"], tool.get("name")) for tool in first["tools"]] == [
        ("function", "get_weather"), ("web_search", None), ("function", "add"),
    ]  # fmt: skip
    assert first["tools"] == second["tools"] == third["tools"]
    called, answered = second["input"][1:]
    assert (called["type"], called["name"], called["arguments"]) == ("function_call", "add", json.dumps(ADD[1]))
    assert answered == {"type": "function_call_output", "call_id": called["call_id"], "output": "5"}
    assert third["input"][:3] == second["input"]
    assert [item["type"] for item in third["input"][3:]] == ["message", "message"]
    assert len(mcp_server.requests(tag, "tools/list")) == len(mcp_server.requests(tag, "tools/call")) == 1


def test_its_events_are_those_of_the_api_and_the_upstreams_come_in_their_places(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    thought = (delta(reasoning_content="I add."), *tool_call(0, "call_1", "add", '{"a":2,', '"b":3}'))
    model.script((*thought, finish("tool_calls")), tag=tag)
    said = script(model, tag, "5")
    streamed = stream(http, "upstream/scripted", said, tools=[mcp(mcp_server.url(), allowed_tools=["add"])])
    assert types_of(streamed.response) == ["mcp_list_tools", "reasoning", "mcp_call", "message"]
    added = streamed.of_type("output_item.added")
    assert [event["output_index"] for event in added] == [0, 1, 2, 3]
    stages = [kind for kind in streamed.types if kind.startswith("mcp_")]
    assert stages[:3] == ["mcp_list_tools.in_progress", "mcp_list_tools.completed", "mcp_call.in_progress"]
    assert stages[-2:] == ["mcp_call_arguments.done", "mcp_call.completed"]
    thought_again = told(model, tag, 2)[1]["input"][1]
    assert thought_again == streamed.response["output"][1]


@STREAMED
def test_failures_are_items_and_limits_hold(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, nobody_url: str, tag: str, take: Any
) -> None:
    tools = [mcp(nobody_url, "broken"), mcp(mcp_server.url(tag=tag))]
    said = script(model, tag, [("fails", {}), ADD, ADD], "Enough.")
    response = take(http, "upstream/scripted", said, tools=tools, max_tool_calls=2, tool_choice="required")
    assert types_of(response) == ["mcp_list_tools", "mcp_list_tools", *["mcp_call"] * 3, "message"]
    assert of_type(response, "mcp_list_tools")[0]["error"]
    assert [call["status"] for call in of_type(response, "mcp_call")] == ["failed", "completed", "failed"]
    first, second = told(model, tag, 2)
    assert [body["tool_choice"] for body in (first, second)] == ["required", "none"]
    outputs = [item["output"] for item in second["input"] if item["type"] == "function_call_output"]
    assert [output[:6] for output in outputs] == ["Error:", "5", "Error:"]


@pytest.mark.parametrize("approve", [True, False], ids=["allowed", "refused"])
def test_leave_is_asked_for_over_turns(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, approve: bool
) -> None:
    fields: dict[str, Any] = {
        "conversation": create(http),
        "tools": [mcp(mcp_server.url(tag=tag), require_approval="always")],
    }
    first = turn(http, "upstream/scripted", script(model, tag, [ADD]), **fields)
    [asked] = of_type(first, "mcp_approval_request")
    answer = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": approve}
    script(model, tag, "Done.")
    second = turn(http, "upstream/scripted", [answer], **fields)
    assert types_of(second) == (["mcp_call", "message"] if approve else ["message"])
    assert len(mcp_server.requests(tag, "tools/call")) == approve
    [_, called, answered] = told(model, tag, 2)[1]["input"]
    assert (called["call_id"], called["name"]) == (answered["call_id"], "add")
    assert answered["output"] == ("5" if approve else "The user did not allow this call.")


def test_thoughts_before_a_call_that_was_never_made_are_not_told(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    fields: dict[str, Any] = {
        "conversation": create(http),
        "tools": [mcp(mcp_server.url(), require_approval="always")],
    }
    thought = (delta(reasoning_content="I add."), *tool_call(0, "call_1", "add", json.dumps(ADD[1])))
    model.script((*thought, finish("tool_calls")), tag=tag)
    first = turn(http, "upstream/scripted", script(model, tag, "Never mind."), **fields)
    assert types_of(first) == ["mcp_list_tools", "reasoning", "mcp_approval_request"]
    turn(http, "upstream/scripted", [user(f"No, wait. tag={tag}")], **fields)
    assert [item["type"] for item in told(model, tag, 2)[1]["input"]] == ["message", "message"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"type": "mcp", "server_label": "scripted"}, "required"),
        ({"type": "mcp", "server_label": "scripted", "name": "add"}, {"type": "function", "name": "add"}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "scripted"}, SEARCH]},
            {"type": "allowed_tools", "mode": "auto", "tools": [SEARCH, {"type": "function", "name": "add"}]},
        ),
    ],
    ids=["server", "tool", "allowed"],
)
def test_a_choice_of_tools_is_told_in_the_upstreams_terms(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, choice: object, said: object
) -> None:
    tools = [mcp(mcp_server.url(), allowed_tools=["add"]), SEARCH]
    response = turn(http, "upstream/scripted", script(model, tag, "Hello"), tools=tools, tool_choice=choice)
    assert response["tool_choice"] == choice
    assert told(model, tag, 1)[0]["tool_choice"] == said
