"""Custom tools, which take plain text; chat completions know them as functions of one argument."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import refused
from harness.conversations import create, items_of
from harness.tools import offered, script, types_of
from harness.turns import WEATHER, post, sent, stream, turn
from scripted_model import ScriptedModel

RUN = {"type": "custom", "name": "run", "description": "Runs code."}
CODE = 'print("é")\n'


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("written", "shown"),
    [({"input": CODE}, CODE), (CODE, CODE), ('{"input": 5}', '{"input": 5}'), ({"input": ""}, "")],
    ids=["in the form", "as it is", "not a text", "empty"],
)
def test_a_call_carries_text(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool, written: object, shown: str
) -> None:
    said = script(model, tag, [("run", written)])
    take: Any = (lambda *a, **k: stream(*a, **k).response) if streamed else turn
    response = take(http, "scripted", said, tools=[RUN])
    [call] = response["output"]
    assert {name: value for name, value in call.items() if name != "id"} == {
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "call_0",
        "name": "run",
        "input": shown,
    }
    assert call["id"].startswith("ctc_")
    assert response["tools"] == [RUN]
    [function] = sent(model, tag)[0].body["tools"]
    assert function["function"]["description"] == "Runs code."
    assert function["function"]["parameters"]["required"] == ["input"]


def test_its_events_are_those_of_a_custom_tool(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    told = stream(http, "scripted", script(model, tag, [("run", {"input": CODE})]), tools=[RUN])
    kinds = ["output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"]
    assert told.types[2:-1] == kinds


@pytest.mark.parametrize("kept", ["conversation", "chain"])
def test_its_output_goes_back_and_the_history_is_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str, kept: str
) -> None:
    history: dict[str, Any] = {"conversation": create(http)} if kept == "conversation" else {}
    first = turn(http, "scripted", script(model, tag, [("run", {"input": CODE})]), tools=[RUN], **history)
    if kept == "chain":
        history = {"previous_response_id": first["id"]}
    output = {"type": "custom_tool_call_output", "call_id": first["output"][0]["call_id"], "output": "é"}
    script(model, tag, "It printed é.")
    second = turn(http, "scripted", [output], tools=[RUN], **history)
    assert types_of(second) == ["message"]
    [called, answer] = sent(model, tag, 2)[1].body["messages"][1:]
    assert called["tool_calls"][0]["function"]["name"] == "run"
    assert (answer["role"], answer["content"]) == ("tool", "é")
    if kept == "conversation":
        assert [item["type"] for item in items_of(http, history["conversation"])][1:3] == [
            "custom_tool_call",
            "custom_tool_call_output",
        ]


def test_a_call_without_output_is_refused(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    first = turn(http, "scripted", script(model, tag, [("run", {"input": CODE})]), tools=[RUN])
    refused(post(http, previous_response_id=first["id"]), 400, None, "input")


@pytest.mark.parametrize(
    ("choice", "told", "names"),
    [
        ({"type": "custom", "name": "run"}, {"type": "function", "function": {"name": "run"}}, ["run", "get_weather"]),
        (
            {"type": "function", "name": "get_weather"},
            {"type": "function", "function": {"name": "get_weather"}},
            ["run", "get_weather"],
        ),
        ("required", "required", ["run", "get_weather"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "run"}]},
            "required",
            ["run"],
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]},
            "auto",
            ["get_weather"],
        ),
    ],
    ids=str,
)
def test_a_choice_is_told_to_the_model(
    http: httpx2.Client, model: ScriptedModel, tag: str, choice: object, told: object, names: list[str]
) -> None:
    response = turn(http, "scripted", script(model, tag, "Hello"), tools=[RUN, WEATHER], tool_choice=choice)
    body = sent(model, tag)[0].body
    assert body["tool_choice"] == told
    assert offered(body) == names
    assert response["tool_choice"] == choice


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"tools": [RUN], "tool_choice": {"type": "custom", "name": "other"}}, "invalid_value", "tool_choice"),
        ({"tools": [RUN, RUN]}, "invalid_value", "tools[1].name"),
        ({"tools": [{"type": "custom"}]}, "missing_required_parameter", "tools[0].name"),
        (
            {"tools": [RUN | {"format": {"type": "grammar", "syntax": "lark", "definition": "x"}}]},
            "unsupported_parameter",
            "tools[0].format",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_by_its_path(
    http: httpx2.Client, fields: dict[str, Any], code: str, param: str
) -> None:
    refused(post(http, **fields), 400, code, param)


def test_the_official_client_accepts_one(strict_client: OpenAI, model: ScriptedModel, tag: str) -> None:
    tools: Any = [RUN]
    said = script(model, tag, [("run", {"input": CODE})])
    with strict_client.responses.stream(model="scripted", input=said, tools=tools) as events:
        [call] = events.get_final_response().output
    assert (call.type, call.input) == ("custom_tool_call", CODE)
