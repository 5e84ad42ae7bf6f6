"""Calls that the client has to allow: asked for in one turn, made or left in a later one."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.conversations import create
from harness.tools import mcp, of_type, script, types_of
from harness.turns import sent, stream, turn
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

ADD = ("add", {"a": 2, "b": 3})
ECHO = ("echo", {"text": "hi"})
MISSING = "(absent)"

ASKED: list[tuple[object, tuple[str, object], bool]] = [
    (MISSING, ADD, True),
    (None, ADD, True),
    ("always", ADD, True),
    ("never", ADD, False),
    ({"never": {"tool_names": ["add"]}}, ADD, False),
    ({"never": {"tool_names": ["add"]}}, ECHO, True),
    ({"never": {"read_only": True}}, ADD, False),
    ({"never": {"read_only": True}}, ECHO, True),
    ({"always": {"tool_names": ["echo"]}}, ECHO, True),
    ({"always": {"tool_names": ["echo"]}}, ADD, False),
    ({"always": {"tool_names": ["add"]}, "never": {"tool_names": ["echo"]}}, ADD, True),
    ({"always": {"tool_names": ["add"]}, "never": {"tool_names": ["echo"]}}, ECHO, False),
]


def answer(request_id: str, approve: bool, **fields: object) -> dict[str, Any]:
    """What a client sends back."""
    return {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve, **fields}


class Conversation:
    """A history that is a conversation."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http, self._id = http, create(http)

    def take(self, said: Any, **fields: Any) -> dict[str, Any]:
        return turn(self._http, "scripted", said, conversation=self._id, **fields)


class Chain:
    """A history that is a chain of responses."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._last: str | None = None

    def take(self, said: Any, **fields: Any) -> dict[str, Any]:
        response = turn(self._http, "scripted", said, previous_response_id=self._last, **fields)
        self._last = response["id"]
        return response


class Replay:
    """A history that the client keeps and sends whole each time, as it came; nothing is stored."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._items: list[Any] = []

    def take(self, said: Any, **fields: Any) -> dict[str, Any]:
        self._items += [{"role": "user", "content": said}] if isinstance(said, str) else said
        response = turn(self._http, "scripted", self._items, store=False, **fields)
        self._items += response["output"]
        return response


HISTORIES = pytest.mark.parametrize("history", [Conversation, Chain, Replay])


@pytest.mark.parametrize(("rule", "call", "asks"), ASKED, ids=lambda value: str(value)[:60])
def test_leave_is_asked_for_as_the_request_says(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, rule: object, call: Any, asks: bool
) -> None:
    tool = mcp(mcp_server.url(tag=tag), require_approval=rule)
    if rule == MISSING:
        del tool["require_approval"]
    told = stream(http, "scripted", script(model, tag, [call], "Done."), tools=[tool])
    kinds = types_of(told.response)
    assert kinds[:2] == ["mcp_list_tools", "mcp_approval_request" if asks else "mcp_call"]
    assert len(kinds) == 2 + (not asks)
    assert len(mcp_server.requests(tag, "tools/call")) == (not asks)


@HISTORIES
def test_a_call_that_is_allowed_is_made_in_the_next_turn(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, history: type[Any]
) -> None:
    kept, tools = history(http), [mcp(mcp_server.url(tag=tag), require_approval="always")]
    first = kept.take(script(model, tag, [ADD]), tools=tools)
    [request] = of_type(first, "mcp_approval_request")
    assert (request["server_label"], request["name"], request["arguments"]) == ("scripted", "add", '{"a": 2, "b": 3}')
    assert mcp_server.requests(tag, "tools/call") == []
    script(model, tag, "It is 5.")
    second = kept.take([answer(request["id"], approve=True)], tools=tools)
    assert types_of(second) == ["mcp_call", "message"]
    [call] = of_type(second, "mcp_call")
    assert (call["output"], call["approval_request_id"], call["arguments"]) == (
        "5",
        request["id"],
        request["arguments"],
    )
    script(model, tag, "Yes, 5.")
    assert types_of(kept.take(f"Sure? tag={tag}", tools=tools)) == ["message"]
    assert len(mcp_server.requests(tag, "tools/call")) == 1
    [_, after, last] = (asked.body["messages"] for asked in sent(model, tag, 3))
    assert [message["role"] for message in after] == ["user", "assistant", "tool"]
    assert after[2]["content"] == "5"
    assert last[:3] == after


@HISTORIES
def test_a_call_that_is_refused_is_never_made_and_the_model_is_told(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, history: type[Any]
) -> None:
    kept, tools = history(http), [mcp(mcp_server.url(tag=tag), require_approval="always")]
    [request] = of_type(kept.take(script(model, tag, [ADD]), tools=tools), "mcp_approval_request")
    script(model, tag, "Then not.")
    second = kept.take([answer(request["id"], approve=False, reason="Too dear.")], tools=tools)
    assert types_of(second) == ["message"]
    assert mcp_server.requests(tag, "tools/call") == []
    told = sent(model, tag, 2)[1].body["messages"][-1]
    assert (told["role"], told["content"]) == ("tool", "The user did not allow this call. Too dear.")


def test_of_two_requests_one_is_allowed_and_one_refused(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    kept, tools = Conversation(http), [mcp(mcp_server.url(tag=tag))]
    tools[0]["require_approval"] = "always"
    first, second = of_type(kept.take(script(model, tag, [ADD, ECHO]), tools=tools), "mcp_approval_request")
    script(model, tag, "Done.")
    answers = [answer(second["id"], approve=True), answer(first["id"], approve=False)]
    assert types_of(kept.take(answers, tools=tools)) == ["mcp_call", "message"]
    messages = sent(model, tag, 2)[1].body["messages"]
    assert sorted(message["content"] for message in messages if message["role"] == "tool") == [
        "The user did not allow this call.",
        "hi",
    ]


def test_a_request_that_is_passed_over_is_no_call(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    kept, tools = Conversation(http), [mcp(mcp_server.url(tag=tag), require_approval="always")]
    kept.take(script(model, tag, [ADD]), tools=tools)
    kept.take(script(model, tag, "As you like."), tools=tools)
    assert mcp_server.requests(tag, "tools/call") == []
    assert [message["role"] for message in sent(model, tag, 2)[1].body["messages"]] == ["user", "user"]


def test_a_call_that_is_allowed_when_its_server_is_no_tool_any_more_fails(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    kept, tools = Conversation(http), [mcp(mcp_server.url(tag=tag), require_approval="always")]
    [request] = of_type(kept.take(script(model, tag, [ADD]), tools=tools), "mcp_approval_request")
    other = [mcp(mcp_server.url(tag=tag), "other")]
    script(model, tag, "Sorry.")
    second = kept.take([answer(request["id"], approve=True)], tools=other)
    assert types_of(second) == ["mcp_list_tools", "mcp_call", "message"]
    assert of_type(second, "mcp_call")[0]["status"] == "failed"


def test_calls_that_were_allowed_count_as_tool_calls(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    kept, tools = Conversation(http), [mcp(mcp_server.url(tag=tag), require_approval="always")]
    requests = of_type(kept.take(script(model, tag, [ADD, ECHO]), tools=tools), "mcp_approval_request")
    script(model, tag, "Done.")
    answers = [answer(request["id"], approve=True) for request in requests]
    second = kept.take(answers, tools=tools, max_tool_calls=1)
    assert [call["status"] for call in of_type(second, "mcp_call")] == ["completed", "completed"]
    assert sent(model, tag, 2)[1].body["tool_choice"] == "none"


def test_an_approval_of_nothing_does_nothing(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    said = [{"role": "user", "content": script(model, tag, "Hello.")}, answer("mcpr_unknown", approve=True)]
    response = turn(http, "scripted", said, tools=[mcp(mcp_server.url(tag=tag))])
    assert types_of(response) == ["mcp_list_tools", "message"]
    assert mcp_server.requests(tag, "tools/call") == []


def test_the_official_client_accepts_the_round_trip(
    strict_client: OpenAI, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    tools: Any = [mcp(mcp_server.url(), require_approval="always")]
    first = strict_client.responses.create(model="scripted", input=script(model, tag, [ADD]), tools=tools)
    request = first.output[-1]
    assert request.type == "mcp_approval_request"
    script(model, tag, "5")
    second = strict_client.responses.create(
        model="scripted",
        previous_response_id=first.id,
        tools=tools,
        input=[{"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}],
    )
    assert second.output_text == "5"
