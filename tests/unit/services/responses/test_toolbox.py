"""Turns with tools that the server runs: learnt, called, answered, and asked leave for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
import pytest

from harness.event_stream import JsonObject, check_stream
from llama_conversations.apis.tools import ToolDefinition, ToolResult, ToolServer
from llama_conversations.errors import ToolFailed, ToolServerForbidden
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.items import INPUT_ITEM
from unit.services.responses.support import (
    ANSWER,
    USAGE,
    Desk,
    Tools,
    call,
    chunk,
    echo,
    end,
    request,
    shown,
    text,
    toolbox,
    types,
)

MCP = {"type": "mcp", "server_label": "box", "server_url": "http://tools", "require_approval": "never"}
LOOK = {"type": "function", "name": "look"}


@pytest.fixture
def box(desk: Desk) -> Desk:
    """A desk whose tool server has one tool, ``echo``."""
    desk.tools.add("echo", echo)
    return desk


async def turn(desk: Desk, **fields: object) -> JsonObject:
    """The response of a streamed turn, its stream checked."""
    return check_stream(await shown(desk.turn(**{"stream": True, "tools": [MCP]} | fields)))


def kinds(response: JsonObject) -> list[str]:
    return [item["type"] for item in response["output"]]


def of(response: JsonObject, kind: str) -> JsonObject:
    [found] = [item for item in response["output"] if item["type"] == kind]
    return found  # type: ignore[no-any-return]


async def test_the_server_lists_calls_and_answers_and_the_model_speaks_again(box: Desk) -> None:
    box.model.rounds = [[call(0, "call_a", "echo", '{"x"'), call(0, arguments=":1}"), end("tool_calls", USAGE)]]
    events = await shown(box.turn(stream=True, tools=[MCP], input="Hi"))
    response = check_stream(events)
    assert kinds(response) == ["mcp_list_tools", "mcp_call", "message"]
    listed, made, _ = response["output"]
    assert listed["tools"] == [{"name": "echo", "input_schema": {"type": "object"}}]
    assert (made["name"], made["arguments"], made["output"], made["error"]) == ("echo", '{"x":1}', '{"x":1}', None)
    assert made["approval_request_id"] is None
    assert box.tools.seen == [
        ("open", ToolServer("box", "http://tools")),
        ("list", None),
        ("echo", {"x": 1}),
        ("close", ToolServer("box", "http://tools")),
    ]
    first, second = box.model.bodies
    assert first["tools"] == [{"type": "function", "function": {"name": "echo", "parameters": {"type": "object"}}}]
    [_, called, answered] = second["messages"]
    assert called["tool_calls"][0]["function"] == {"name": "echo", "arguments": '{"x":1}'}
    assert (answered["content"], answered["tool_call_id"]) == ('{"x":1}', called["tool_calls"][0]["id"])
    assert second["messages"][0] == first["messages"][0]
    usage = response["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (22, 14, 36)
    assert usage["input_tokens_details"]["cached_tokens"] == 6
    assert usage["output_tokens_details"]["reasoning_tokens"] == 4
    assert types(events)[2:8] == [
        "output_item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "output_item.done",
        "output_item.added",
        "mcp_call.in_progress",
    ]


async def test_a_tool_that_was_listed_in_the_context_is_not_listed_again(box: Desk) -> None:
    first = await turn(box)
    box.model.rounds = [[call(0, "a", "echo", ""), end("tool_calls")]]
    second = await turn(box, previous_response_id=first["id"])
    assert kinds(second) == ["mcp_call", "message"]
    assert of(second, "mcp_call")["output"] == "{}"
    assert [what for what, _ in box.tools.seen].count("list") == 1


async def test_calls_of_one_round_run_at_once_and_are_shown_in_their_order(desk: Desk) -> None:
    both, running = asyncio.Event(), 0

    async def meet(arguments: Mapping[str, JsonValue]) -> ToolResult:
        nonlocal running
        running += 1
        if running == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 20)
        return await echo(arguments)

    desk.tools.add("meet", meet)
    desk.model.rounds = [[call(0, "a", "meet", '{"n":1}'), call(1, "b", "meet", '{"n":2}'), end("tool_calls")]]
    response = await turn(desk)
    assert [item["output"] for item in response["output"][1:3]] == ['{"n":1}', '{"n":2}']
    assert [name for name, _ in desk.tools.seen].count("open") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("[1]", {"content": [{"type": "text", "text": "The arguments are not a JSON object."}]}),
        ("{", {"content": [{"type": "text", "text": "The arguments are not a JSON object."}]}),
        ('{"say":1}', {"content": [{"type": "text", "text": "No."}]}),
    ],
)
async def test_a_tool_that_fails_is_told_to_the_model_and_the_turn_goes_on(
    desk: Desk, arguments: str, error: JsonObject
) -> None:
    async def refuse(_: Mapping[str, JsonValue]) -> ToolResult:
        return ToolResult("No.", is_error=True)

    desk.tools.add("refuse", refuse)
    desk.model.rounds = [[call(0, "a", "refuse", arguments), end("tool_calls")]]
    response = await turn(desk)
    assert of(response, "mcp_call")["error"] == {"type": "mcp_tool_execution_error", **error}
    assert of(response, "mcp_call")["status"] == "failed"
    assert response["status"] == "completed"
    assert desk.model.bodies[1]["messages"][-1]["content"].startswith("Error: ")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ToolFailed("box", "It broke.", code=-32000), -32000),
        (ToolFailed("box", "It broke."), 0),
        (ToolServerForbidden("box", "private"), 0),
    ],
)
async def test_a_tool_server_that_fails_in_a_call_is_told_to_the_model(
    desk: Desk, failure: Exception, code: int
) -> None:
    async def fail(_: Mapping[str, JsonValue]) -> ToolResult:
        raise failure

    desk.tools.add("fail", fail)
    desk.model.rounds = [[call(0, "a", "fail", "{}"), end("tool_calls")]]
    response = await turn(desk)
    error = of(response, "mcp_call")["error"]
    assert (error["type"], error["code"], error["message"]) == ("mcp_protocol_error", code, str(failure))


async def test_a_server_that_cannot_list_its_tools_has_none_and_says_why(desk: Desk) -> None:
    desk.tools.definitions = ToolFailed("box", "It is down.")
    response = await turn(desk)
    assert kinds(response) == ["mcp_list_tools", "message"]
    assert of(response, "mcp_list_tools")["error"] == "It is down."
    assert "tools" not in desk.model.bodies[0]
    desk.tools.definitions = ()
    again = await turn(desk, previous_response_id=response["id"])
    assert "error" not in of(again, "mcp_list_tools")


async def test_a_server_that_is_unreachable_is_not_asked_twice_in_a_turn(box: Desk) -> None:
    first = await turn(box)
    box.tools.unreachable = ToolFailed("box", "No connection.")
    box.model.rounds = [[call(0, "a", "echo"), call(1, "b", "echo"), end("tool_calls")]]
    opened = [what for what, _ in box.tools.seen].count("open")
    response = await turn(box, previous_response_id=first["id"])
    assert [item["status"] for item in response["output"]] == ["failed", "failed", "completed"]
    assert [what for what, _ in box.tools.seen].count("open") == opened + 1


async def test_a_forbidden_address_fails_the_turn(desk: Desk) -> None:
    desk.tools.unreachable = ToolServerForbidden("box", "it is private")
    response = check_stream(await shown(desk.turn(stream=True, tools=[MCP])))
    assert (response["status"], response["error"]["code"]) == ("failed", "invalid_prompt")


async def test_a_call_of_a_client_function_beside_leaves_the_turn_to_the_client(box: Desk) -> None:
    box.model.rounds = [[call(0, "a", "echo", "{}"), call(1, "call_b", "look", "{}"), end("tool_calls")]]
    response = await turn(box, tools=[MCP, LOOK])
    assert kinds(response) == ["mcp_list_tools", "mcp_call", "function_call"]
    assert len(box.model.bodies) == 1
    answer = {"type": "function_call_output", "call_id": "call_b", "output": "seen"}
    after = await turn(box, tools=[MCP, LOOK], input=[answer], previous_response_id=response["id"])
    assert kinds(after) == ["message"]
    roles = [message["role"] for message in box.model.bodies[1]["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]


async def test_of_too_many_calls_the_last_fail_and_the_model_may_call_no_more(box: Desk) -> None:
    box.model.rounds = [
        [call(0, "a", "echo", "{}"), end("tool_calls")],
        [call(0, "b", "echo", "{}"), call(1, "c", "echo", "{}"), end("tool_calls")],
    ]
    response = await turn(box, max_tool_calls=2)
    calls = [item for item in response["output"] if item["type"] == "mcp_call"]
    assert [item["status"] for item in calls] == ["completed", "completed", "failed"]
    assert "limit" in calls[2]["error"]["content"][0]["text"]
    assert [body.get("tool_choice") for body in box.model.bodies] == [None, None, "none"]


async def test_a_model_that_calls_though_it_may_not_is_not_asked_again(box: Desk) -> None:
    box.model.script = [call(0, "call_a", "echo", "{}"), end("tool_calls")]
    response = await turn(box, max_tool_calls=1)
    statuses = [item["status"] for item in response["output"] if item["type"] == "mcp_call"]
    assert statuses == ["completed", "failed"]
    assert [body.get("tool_choice") for body in box.model.bodies] == [None, "none"]


async def test_a_call_that_was_cut_off_is_not_run(box: Desk) -> None:
    box.model.script = [call(0, "a", "echo", '{"x'), end("length")]
    response = await turn(box)
    assert response["status"] == "incomplete"
    assert of(response, "mcp_call")["status"] == "incomplete"
    assert "echo" not in dict(box.tools.seen)


ASKING = {key: value for key, value in MCP.items() if key != "require_approval"}


async def test_a_call_waits_for_the_clients_leave_and_runs_in_the_next_turn(box: Desk) -> None:
    box.model.rounds = [[call(0, "a", "echo", '{"x":1}'), end("tool_calls")]]
    first = await turn(box, tools=[ASKING])
    asked = of(first, "mcp_approval_request")
    assert (asked["name"], asked["arguments"], asked["server_label"]) == ("echo", '{"x":1}', "box")
    assert len(box.model.bodies) == 1
    leave = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": True}
    second = await turn(box, tools=[ASKING], input=[leave], previous_response_id=first["id"])
    assert kinds(second) == ["mcp_call", "message"]
    made = of(second, "mcp_call")
    assert (made["approval_request_id"], made["output"]) == (asked["id"], '{"x":1}')
    third = await turn(box, tools=[ASKING], previous_response_id=second["id"])
    assert kinds(third) == ["message"]


async def test_a_refused_call_is_not_run_and_the_model_is_told(box: Desk) -> None:
    box.model.rounds = [[call(0, "a", "echo", "{}"), end("tool_calls")]]
    first = await turn(box, tools=[ASKING])
    asked = of(first, "mcp_approval_request")
    leave = {
        "type": "mcp_approval_response",
        "approval_request_id": asked["id"],
        "approve": False,
        "reason": "Not now.",
    }
    second = await turn(box, tools=[ASKING], input=[leave], previous_response_id=first["id"])
    assert kinds(second) == ["message"]
    assert box.model.bodies[1]["messages"][-1]["content"] == "The user did not allow this call. Not now."
    assert "echo" not in dict(box.tools.seen)


async def test_leave_for_a_server_that_the_request_no_longer_names_runs_nothing(box: Desk) -> None:
    box.model.rounds = [[call(0, "a", "echo", "{}"), end("tool_calls")]]
    first = await turn(box, tools=[ASKING])
    leave = {
        "type": "mcp_approval_response",
        "approval_request_id": of(first, "mcp_approval_request")["id"],
        "approve": True,
    }
    other = MCP | {"server_label": "other"}
    second = await turn(box, tools=[other], input=[leave], previous_response_id=first["id"])
    assert "not among the tools" in of(second, "mcp_call")["error"]["message"]


@pytest.mark.parametrize(
    ("rule", "needs_leave"),
    [
        ("always", True),
        (None, True),
        ("never", False),
        ({"never": {"tool_names": ["echo"]}}, False),
        ({"never": {"tool_names": ["other"]}}, True),
        ({"always": {"tool_names": ["echo"]}}, True),
        ({"always": {"tool_names": ["other"]}}, False),
        ({"never": {"read_only": True}}, False),
        ({"always": {"read_only": True}}, True),
        ({"always": {"read_only": False}}, False),
        ({"always": {"tool_names": ["echo"]}, "never": {"read_only": True}}, False),
        ({}, True),
    ],
)
async def test_a_rule_says_which_calls_need_leave(desk: Desk, rule: object, needs_leave: bool) -> None:
    desk.tools.add("echo", echo, annotations={"readOnlyHint": True})
    desk.model.rounds = [[call(0, "a", "echo", "{}"), end("tool_calls")]]
    response = await turn(desk, tools=[MCP | {"require_approval": rule}])
    assert ("mcp_approval_request" in kinds(response)) == needs_leave


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (None, ["a", "b"]),
        (["b", "c"], ["b"]),
        ([], []),
        ({"tool_names": ["a"]}, ["a"]),
        ({"read_only": True}, ["b"]),
        ({"read_only": False}, ["a"]),
        ({"tool_names": ["a"], "read_only": True}, []),
        ({}, ["a", "b"]),
    ],
)
async def test_only_the_tools_that_the_request_allows_are_listed_and_offered(
    desk: Desk, allowed: object, names: list[str]
) -> None:
    desk.tools.add("a", echo)
    desk.tools.add("b", echo, annotations={"readOnlyHint": True})
    response = await turn(desk, tools=[MCP | {"allowed_tools": allowed}])
    assert [tool["name"] for tool in of(response, "mcp_list_tools")["tools"]] == names
    assert [tool["function"]["name"] for tool in desk.model.bodies[0].get("tools", ())] == names


async def test_tools_of_one_name_are_told_apart_and_reach_their_own_servers(box: Desk) -> None:
    other = MCP | {"server_label": "two", "server_url": "http://two"}
    box.model.rounds = [[call(0, "a", "two__echo", "{}"), end("tool_calls")]]
    response = await turn(box, tools=[MCP, other, LOOK | {"name": "echo_"}])
    made = of(response, "mcp_call")
    assert (made["server_label"], made["name"]) == ("two", "echo")
    names = [tool["function"]["name"] for tool in box.model.bodies[0]["tools"]]
    assert names == ["echo_", "echo", "two__echo"]


async def test_a_function_of_the_clients_keeps_its_name_beside_a_servers_tool(box: Desk) -> None:
    box.model.rounds = [[call(0, "a", "echo", "{}"), end("tool_calls")]]
    response = await turn(box, tools=[MCP, LOOK | {"name": "echo"}])
    assert kinds(response) == ["mcp_list_tools", "function_call"]


async def filled(*tools: JsonObject) -> Toolbox:
    """A box whose servers have been asked."""
    from llama_conversations.services.responses.output import Output

    runtime = Tools()
    runtime.add("echo", echo, description="Says it.")
    runtime.add("tell", echo)
    box = toolbox(*tools, runtime=runtime)
    async for _ in box.list_tools((), Output("0" * 8, "p")):
        pass
    return box


@pytest.mark.parametrize(
    ("choice", "upstream"),
    [
        (None, None),
        ("auto", "auto"),
        ({"type": "mcp", "server_label": "box"}, "required"),
        ({"type": "mcp", "server_label": "box", "name": "unknown"}, "required"),
        ({"type": "mcp", "server_label": "box", "name": "tell"}, {"type": "function", "name": "tell"}),
        ({"type": "function", "name": "look"}, {"type": "function", "name": "look"}),
    ],
)
async def test_a_choice_is_said_to_an_upstream_that_speaks_the_api(choice: object, upstream: object) -> None:
    box = await filled(MCP, LOOK)
    assert box.upstream_choice(request(tool_choice=choice).tool_choice) == upstream


async def test_an_upstream_that_speaks_the_api_is_given_the_servers_tools_as_functions() -> None:
    box = await filled(LOOK, MCP | {"allowed_tools": ["echo"]}, {"type": "web_search"})
    assert list(box.upstream_tools()) == [
        LOOK,
        {"type": "web_search"},
        {
            "type": "function",
            "strict": False,
            "name": "echo",
            "parameters": {"type": "object"},
            "description": "Says it.",
        },
    ]


async def test_of_allowed_tools_of_a_server_one_or_all_are_meant(desk: Desk) -> None:
    for name in ("a", "b"):
        desk.tools.add(name, echo)
    for wanted, names in (({}, ["a", "b"]), ({"name": "b"}, ["b"]), ({"name": "unknown"}, [])):
        choice = {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "mcp", "server_label": "box", **wanted}, {"type": "function", "name": "look"}],
        }
        await turn(desk, tools=[MCP, LOOK], tool_choice=choice)
        offered = [tool["function"]["name"] for tool in desk.model.bodies[-1]["tools"]]
        assert offered == ["look", *names]


@pytest.mark.parametrize(
    ("name", "said"), [(None, "required"), ("echo", {"type": "function", "function": {"name": "echo"}})]
)
async def test_a_choice_of_a_servers_tool_is_said_in_the_chats_words(box: Desk, name: str | None, said: object) -> None:
    await turn(box, tool_choice={"type": "mcp", "server_label": "box", "name": name})
    assert box.model.bodies[0]["tool_choice"] == said


CUSTOM = {"type": "custom", "name": "write", "description": "Writes."}


@pytest.mark.parametrize(
    ("arguments", "shown_input"),
    [
        ('{"input":"print(1)"}', "print(1)"),
        ("plain words", "plain words"),
        ('{"input":1}', '{"input":1}'),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
async def test_a_custom_tool_is_a_function_of_one_text_to_the_model_and_a_text_to_the_client(
    desk: Desk, arguments: str, shown_input: str
) -> None:
    desk.model.rounds = [[call(0, "call_a", "write"), call(0, arguments=arguments), end("tool_calls")]]
    first = await turn(desk, tools=[CUSTOM])
    made = of(first, "custom_tool_call")
    assert (made["call_id"], made["name"], made["input"], made["status"]) == (
        "call_a",
        "write",
        shown_input,
        "completed",
    )
    [offered] = desk.model.bodies[0]["tools"]
    assert offered["function"]["parameters"]["required"] == ["input"]
    answer = {"type": "custom_tool_call_output", "call_id": "call_a", "output": "done"}
    await turn(desk, tools=[CUSTOM], input=[answer], previous_response_id=first["id"])
    [_, called, answered] = desk.model.bodies[1]["messages"]
    assert orjson.loads(called["tool_calls"][0]["function"]["arguments"]) == {"input": shown_input}
    assert answered["content"] == "done"


async def test_a_custom_tool_that_must_be_called_is_named(desk: Desk) -> None:
    await turn(desk, tools=[CUSTOM], tool_choice={"type": "custom", "name": "write"})
    assert desk.model.bodies[0]["tool_choice"] == {"type": "function", "function": {"name": "write"}}


async def test_a_turn_that_is_stopped_while_a_tool_works_stops_the_tool_and_closes_its_session(desk: Desk) -> None:
    working, stopped = asyncio.Event(), asyncio.Event()

    async def work(_: Mapping[str, JsonValue]) -> ToolResult:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    desk.tools.add("work", work)
    desk.model.rounds = [[call(0, "a", "work", "{}"), end("tool_calls")]]
    task = asyncio.ensure_future(shown(desk.turn(stream=True, tools=[MCP])))
    await working.wait()
    task.cancel()
    await asyncio.wait([task])
    assert stopped.is_set()
    assert desk.tools.seen[-1][0] == "close"
    assert [response["status"] for response in await desk.responses()] == ["failed"]


async def test_what_a_turn_with_tools_stored_can_be_sent_back_item_by_item(box: Desk) -> None:
    box.model.rounds = [[chunk(reasoning="hm"), call(0, "a", "echo", "{}"), end("tool_calls")]]
    response = await turn(box, store=False)
    for item in response["output"]:
        INPUT_ITEM.validate_python(item)
    again = await turn(box, input=[*response["output"], {"role": "user", "content": "And?"}])
    assert kinds(again) == ["message"]


def test_a_definition_says_whether_it_only_reads() -> None:
    assert not ToolDefinition("a", None, {}).read_only
    assert not ToolDefinition("a", None, {}, {"readOnlyHint": False}).read_only
    assert ToolDefinition("a", None, {}, {"readOnlyHint": True}).read_only


async def test_text_before_a_call_is_a_message_of_its_own(box: Desk) -> None:
    box.model.rounds = [[text("Let me see."), call(0, "a", "echo", "{}"), end("tool_calls")], ANSWER]
    response = await turn(box)
    assert kinds(response) == ["mcp_list_tools", "message", "mcp_call", "message"]
    assert box.model.bodies[1]["messages"][1]["content"] == "Let me see."
