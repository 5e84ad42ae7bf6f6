"""Tools of MCP servers: listed once, offered, called by this server, and what they answer told to the model."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok
from harness.conversations import create, items_of
from harness.tools import called, calls, mcp, of_type, offered, script, types_of
from harness.turns import WEATHER, post, sent, stream, turn
from scripted_mcp import ODD_NAMES, ScriptedMcp
from scripted_model import ScriptedModel
from scripted_model.answers import text

ADD = ("add", {"a": 2, "b": 3})
STREAMED = pytest.mark.parametrize("take", [turn, lambda *a, **k: stream(*a, **k).response], ids=["plain", "streamed"])


@STREAMED
@pytest.mark.parametrize("by", ["server_url", "connector_id"])
def test_a_call_is_made_by_the_server_and_its_answer_told_to_the_model(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, take: Any, by: str
) -> None:
    tool = mcp(mcp_server.url(tag=tag))
    if by == "connector_id":
        del tool["server_url"]
        tool["connector_id"] = "house"
    response = take(http, "scripted", script(model, tag, [ADD], "It is 5."), tools=[tool])
    assert types_of(response) == ["mcp_list_tools", "mcp_call", "message"]
    listed, call, message = response["output"]
    assert (listed["server_label"], "error" in listed) == ("scripted", False)
    [add] = [tool for tool in listed["tools"] if tool["name"] == "add"]
    assert (add["description"], add["input_schema"]["required"]) == ("Adds.", ["a", "b"])
    assert add["annotations"]["readOnlyHint"] is True
    assert not [tool for tool in listed["tools"] if None in tool.values()]
    assert {name: value for name, value in call.items() if name != "id"} == {
        "type": "mcp_call",
        "status": "completed",
        "approval_request_id": None,
        "server_label": "scripted",
        "name": "add",
        "arguments": json.dumps(ADD[1]),
        "output": "5",
        "error": None,
    }
    assert message["content"][0]["text"] == "It is 5."
    first, second = (request.body for request in sent(model, tag, 2))
    assert "add" in offered(first)
    assert offered(second) == offered(first)
    [called, answer] = second["messages"][1:]
    assert called["tool_calls"][0]["function"] == {"name": "add", "arguments": json.dumps(ADD[1])}
    assert answer == {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "5"}
    assert len(answer["tool_call_id"]) <= 40


def test_its_events_come_in_the_order_of_the_api(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [ADD], "5")
    told = stream(http, "scripted", said, tools=[mcp(mcp_server.url())])
    listing = ["output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done"]
    calling = ["output_item.added", "mcp_call.in_progress", *["mcp_call_arguments.delta"] * 2]
    called = ["mcp_call_arguments.done", "mcp_call.completed", "output_item.done"]
    assert told.types[2 : 2 + 11] == [*listing, *calling, *called]
    assert [event["output_index"] for event in told.of_type("output_item.added")] == [0, 1, 2]


def test_all_rounds_of_a_turn_share_one_session(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [ADD, ADD], [ADD], "5")
    response = turn(http, "scripted", said, tools=[mcp(mcp_server.url(tag=tag, era="legacy"))])
    assert types_of(response) == ["mcp_list_tools", *["mcp_call"] * 3, "message"]
    assert len(mcp_server.requests(tag, "tools/call")) == 3
    assert len(mcp_server.requests(tag, "initialize")) == 1


def test_usage_is_that_of_all_rounds(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [ADD], [ADD], "5")
    response = turn(http, "scripted", said, tools=[mcp(mcp_server.url())])
    assert types_of(response) == ["mcp_list_tools", "mcp_call", "mcp_call", "message"]
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens"] == 3 + 3 + 1


@pytest.mark.parametrize("kept", ["conversation", "chain"])
def test_the_tools_are_listed_once_and_the_list_serves_later_turns(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, kept: str
) -> None:
    tools = [mcp(mcp_server.url(tag=tag))]
    history: dict[str, Any] = {"conversation": create(http)} if kept == "conversation" else {}
    first = turn(http, "scripted", script(model, tag, [ADD], "5"), tools=tools, **history)
    if kept == "chain":
        history = {"previous_response_id": first["id"]}
    second = turn(http, "scripted", script(model, tag, [ADD], "5 again"), tools=tools, **history)
    assert types_of(second) == ["mcp_call", "message"]
    assert len(mcp_server.requests(tag, "tools/list")) == 1
    assert len(mcp_server.requests(tag, "tools/call")) == 2
    bodies = [request.body for request in sent(model, tag, 4)]
    assert [offered(body) for body in bodies[1:]] == [offered(bodies[0])] * 3
    assert [message["role"] for message in bodies[2]["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    if kept == "conversation":
        stored = [item["type"] for item in items_of(http, history["conversation"])]
        assert stored == ["message", "mcp_list_tools", "mcp_call", "message", "message", "mcp_call", "message"]


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (["add", "echo"], ["add", "echo"]),
        ({"tool_names": ["echo"]}, ["echo"]),
        ({"read_only": True}, ["add"]),
        ({"read_only": True, "tool_names": ["echo"]}, []),
        ([], []),
    ],
    ids=str,
)
def test_only_allowed_tools_are_listed_and_offered(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, allowed: object, names: list[str]
) -> None:
    tools = [mcp(mcp_server.url(), allowed_tools=allowed)]
    response = turn(http, "scripted", script(model, tag, "Hello"), tools=tools)
    [listed] = of_type(response, "mcp_list_tools")
    assert [tool["name"] for tool in listed["tools"]] == names
    assert offered(sent(model, tag)[0].body) == names


def test_calls_of_one_round_run_at_the_same_time_and_are_told_in_their_order(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    slow = [("slow", {"gate": f"{tag}-{number}"}) for number in range(3)]
    said = script(model, tag, slow, "Done.")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stream, http, "scripted", said, tools=[mcp(mcp_server.url(tag=tag))])
        assert len(mcp_server.requests(tag, "tools/call", count=3)) == 3
        for number in (2, 0, 1):
            mcp_server.open_gate(f"{tag}-{number}")
        told = running.result()
    done = [event["output_index"] for event in told.of_type("mcp_call.completed")]
    assert done == [1, 2, 3]
    messages = sent(model, tag, 2)[1].body["messages"]
    told_calls = [json.loads(message["tool_calls"][0]["function"]["arguments"]) for message in messages[1::2]]
    assert told_calls == [arguments for _, arguments in slow]
    assert [message["content"] for message in messages[2::2]] == ["done"] * 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (("fails", {}), {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": "no such city"}]}),
        (("refuses", {}), {"type": "mcp_protocol_error", "code": -32050}),
        (("add", '{"a": 1'), {"type": "mcp_tool_execution_error"}),
        (("add", "[1]"), {"type": "mcp_tool_execution_error"}),
    ],
    ids=["the tool fails", "the server refuses", "arguments cut off", "arguments that are no object"],
)
@STREAMED
def test_a_call_that_fails_is_an_item_that_says_why_and_the_model_is_told(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, take: Any, call: Any, error: Any
) -> None:
    said = script(model, tag, [call], "Sorry.")
    response = take(http, "scripted", said, tools=[mcp(mcp_server.url())])
    [failed] = of_type(response, "mcp_call")
    assert (failed["status"], failed["output"]) == ("failed", None)
    assert {name: failed["error"][name] for name in error} == error
    assert (response["status"], types_of(response)[-1]) == ("completed", "message")
    answer = sent(model, tag, 2)[1].body["messages"][-1]
    assert (answer["role"], answer["content"][:6]) == ("tool", "Error:")


def test_a_tool_that_nobody_offers_is_left_to_the_client(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [("nonsense", {})], "Fine.")
    response = turn(http, "scripted", said, tools=[mcp(mcp_server.url())])
    assert types_of(response) == ["mcp_list_tools", "function_call"]
    output = {"type": "function_call_output", "call_id": response["output"][1]["call_id"], "output": "no such tool"}
    turn(http, "echo", [output], previous_response_id=response["id"])


@STREAMED
@pytest.mark.parametrize("fault", ["status", "hang-up", "gone"])
def test_a_server_that_cannot_list_its_tools_has_none_and_the_turn_goes_on(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, nobody_url: str, tag: str, take: Any, fault: str
) -> None:
    urls = {
        "status": mcp_server.url(fault="status", status=500),
        "hang-up": mcp_server.url(fault="cut"),
        "gone": nobody_url,
    }
    tools = [mcp(urls[fault], "broken"), mcp(mcp_server.url(), "good", allowed_tools=["add"])]
    response = take(http, "scripted", script(model, tag, [ADD], "5"), tools=tools)
    assert types_of(response) == ["mcp_list_tools", "mcp_list_tools", "mcp_call", "message"]
    broken, good = of_type(response, "mcp_list_tools")
    assert (broken["server_label"], broken["tools"], "error" in good) == ("broken", [], False)
    assert broken["error"]
    assert offered(sent(model, tag, 2)[0].body) == ["add"]


def test_a_server_that_fails_at_a_call_fails_the_call_alone(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    url = mcp_server.url(fault="status", status=503, on="tools/call")
    response = turn(http, "scripted", script(model, tag, [ADD], "Sorry."), tools=[mcp(url)])
    [failed] = of_type(response, "mcp_call")
    assert (failed["status"], failed["error"]["type"]) == ("failed", "mcp_protocol_error")
    assert response["status"] == "completed"


def test_a_list_that_failed_is_asked_for_again_in_the_next_turn(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, nobody_url: str, tag: str
) -> None:
    first = turn(http, "scripted", script(model, tag, "Hello"), tools=[mcp(nobody_url)])
    tools = [mcp(mcp_server.url(), allowed_tools=["add"])]
    second = turn(http, "scripted", script(model, tag, "Hello"), tools=tools, previous_response_id=first["id"])
    assert types_of(second) == ["mcp_list_tools", "message"]
    assert offered(sent(model, tag, 2)[1].body) == ["add"]


def test_calls_beyond_the_limit_fail_and_then_the_model_may_only_speak(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [ADD, ADD, ADD], "Enough.")
    tools = [mcp(mcp_server.url(tag=tag))]
    response = turn(http, "scripted", said, tools=tools, max_tool_calls=2)
    assert [call["status"] for call in of_type(response, "mcp_call")] == ["completed", "completed", "failed"]
    assert "limit" in of_type(response, "mcp_call")[2]["error"]["content"][0]["text"]
    assert len(mcp_server.requests(tag, "tools/call")) == 2
    assert [request.body.get("tool_choice") for request in sent(model, tag, 2)] == [None, "none"]
    assert response["max_tool_calls"] == 2


def test_a_round_that_calls_a_tool_and_a_function_runs_the_tool_and_ends_the_turn(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [ADD, ("get_weather", {"city": "Rome"})])
    tools = [mcp(mcp_server.url()), WEATHER]
    response = turn(http, "scripted", said, tools=tools)
    assert types_of(response) == ["mcp_list_tools", "mcp_call", "function_call"]
    assert (response["output"][1]["output"], response["output"][2]["status"]) == ("5", "completed")
    output = {"type": "function_call_output", "call_id": response["output"][2]["call_id"], "output": "sun"}
    model.script(text("5, and sun."), tag=tag)
    turn(http, "scripted", [output], tools=tools, previous_response_id=response["id"])
    [_, add, five, weather, sun] = sent(model, tag, 2)[1].body["messages"]
    assert [call["tool_calls"][0]["function"]["name"] for call in (add, weather)] == ["add", "get_weather"]
    assert [five["content"], sun["content"]] == ["5", "sun"]


def test_tools_of_the_same_name_are_told_apart(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    function = {"type": "function", "name": "add", "parameters": {"type": "object"}}
    tools = [function, *(mcp(mcp_server.url(), label, allowed_tools=["add"]) for label in ("one", "two"))]
    said = script(model, tag, [("two__add", ADD[1])], "5")
    response = turn(http, "scripted", said, tools=tools)
    [call] = of_type(response, "mcp_call")
    assert (call["server_label"], call["name"], call["output"]) == ("two", "add", "5")
    first, second = (request.body for request in sent(model, tag, 2))
    assert offered(first) == ["add", "one__add", "two__add"]
    assert called(second) == ["two__add"]
    turn(http, "scripted", script(model, tag, "5."), tools=tools, previous_response_id=response["id"])
    assert called(sent(model, tag, 3)[2].body) == ["two__add"]


def test_names_that_chat_completions_refuse_are_given_others_and_lead_to_their_tools(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    tools = [{"type": "web_search"}, mcp(mcp_server.url(listing="odd"), "odd", server_description="Odd things.")]
    model.script(text("Hello."), tag=tag)
    listed = turn(http, "scripted", f"tag={tag}", tools=tools)
    [first] = sent(model, tag)
    names = offered(first.body)[1:]
    assert names[:3] == ["files_read", "odd__files_read", "2_odd__files_read"]
    assert len(names) == len(set(names)) == len(ODD_NAMES) - 1
    assert {tool["function"].get("description") for tool in first.body["tools"][1:]} == {"Odd things."}
    said = script(model, tag, [(name, {}) for name in names], "Done.")
    response = turn(http, "scripted", said, tools=tools, previous_response_id=listed["id"])
    outputs = [call["output"] for call in of_type(response, "mcp_call")]
    assert outputs == [call["name"] for call in of_type(response, "mcp_call")] == list(ODD_NAMES[:-1])
    assert called(sent(model, tag, 3)[2].body) == names


def test_more_tools_than_the_model_server_takes_are_its_to_refuse_and_can_be_narrowed_down(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    url = mcp_server.url(listing="many")
    told = stream(http, "scripted", script(model, tag, "Hello."), tools=[mcp(url)])
    assert told.response["status"] == "failed"
    assert "128" in told.response["error"]["message"]
    response = turn(http, "scripted", f"tag={tag}", tools=[mcp(url, allowed_tools=["tool_7", "tool_190"])])
    assert offered(sent(model, tag, 2)[1].body) == ["tool_7", "tool_190"]
    assert types_of(response) == ["mcp_list_tools", "message"]


def test_a_list_of_other_tools_than_the_request_names_is_asked_for_again(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    url, last = mcp_server.url(tag=tag), None
    asked: list[tuple[object, bool]] = [
        (["add"], True),
        (["add", "echo"], True),
        (["echo"], False),
        ({"tool_names": ["slow"]}, True),
        ({"read_only": False}, False),
    ]
    for allowed, lists in asked:
        said = script(model, tag, "Hello.")
        tools = [mcp(url, allowed_tools=allowed)]
        response = turn(http, "scripted", said, tools=tools, previous_response_id=last)
        assert types_of(response) == ["mcp_list_tools"] * lists + ["message"]
        last = response["id"]
    names = [offered(request.body) for request in sent(model, tag, len(asked))]
    assert names == [["add"], ["add", "echo"], ["echo"], ["slow"], ["slow"]]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"type": "mcp", "server_label": "scripted"}, "required"),
        ({"type": "mcp", "server_label": "scripted", "name": "add"}, {"type": "function", "function": {"name": "add"}}),
        ("required", "required"),
        ("none", "none"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "scripted"}]}, "auto"),
    ],
    ids=str,
)
def test_a_choice_of_tools_is_told_to_the_model(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, choice: object, said: object
) -> None:
    tools = [mcp(mcp_server.url(), allowed_tools=["add"]), WEATHER]
    response = turn(http, "scripted", script(model, tag, "Hello"), tools=tools, tool_choice=choice)
    body = sent(model, tag)[0].body
    assert body["tool_choice"] == said
    assert response["tool_choice"] == choice
    only_add = isinstance(choice, dict) and choice["type"] == "allowed_tools"
    assert offered(body) == (["add"] if only_add else ["get_weather", "add"])


def test_a_forced_choice_forces_the_first_round_only(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [ADD], "5")
    turn(http, "scripted", said, tools=[mcp(mcp_server.url())], tool_choice="required")
    assert [request.body["tool_choice"] for request in sent(model, tag, 2)] == ["required", "auto"]


def test_a_client_that_hangs_up_leaves_no_call_behind(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = script(model, tag, [("slow", {"gate": tag})])
    body = {"model": "scripted", "input": said, "tools": [mcp(mcp_server.url(tag=tag))], "store": False, "stream": True}
    with http.stream("POST", "/responses", json=body):
        mcp_server.requests(tag, "tools/call", count=1)
    assert mcp_server.call("GET", f"/control/gates/{tag}/left") == {"left": "cancelled"}


def test_the_official_client_accepts_all_of_it(
    strict_client: OpenAI, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    tools: Any = [mcp(mcp_server.url())]
    said = script(model, tag, [ADD], [("fails", {})], "5")
    response = strict_client.responses.create(model="scripted", input=said, tools=tools)
    assert [item.type for item in response.output] == ["mcp_list_tools", "mcp_call", "mcp_call", "message"]
    with strict_client.responses.stream(model="scripted", input=script(model, tag, [ADD], "5"), tools=tools) as events:
        kinds = [event.type for event in events]
    assert "response.mcp_call.completed" in kinds
    page = strict_client.responses.input_items.list(response.id)
    assert len(page.data) == 1


def test_many_rounds_end_at_the_servers_own_limit(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    model.script(*(calls(*[("echo", {"text": "x"})] * 16) for _ in range(8)), text("Enough."), tag=tag)
    tools = [mcp(mcp_server.url(tag=tag), allowed_tools=["echo"])]
    answer = post(http, "scripted", f"tag={tag}", tools=tools)
    assert len(of_type(ok(answer), "mcp_call")) == 128
    assert sent(model, tag, 9)[-1].body["tool_choice"] == "none"
