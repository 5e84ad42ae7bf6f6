"""Tools that the server runs: how tests ask for them, and how they let a model call them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.event_stream import JsonObject
from scripted_model import Answer, ScriptedModel, Step
from scripted_model.answers import finish, text, tool_call

Call = tuple[str, object]
"""A tool's name and its arguments: an object, or a text as the model writes it."""


def mcp(server_url: str, label: str = "scripted", **fields: object) -> JsonObject:
    """The tools of a server, which are called without asking."""
    return {"type": "mcp", "server_label": label, "server_url": server_url, "require_approval": "never", **fields}


def calls(*made: Call) -> tuple[Step, ...]:
    """What a model says that calls tools, one after the other, each in two pieces."""
    steps: list[Step] = []
    for index, (name, arguments) in enumerate(made):
        written = arguments if isinstance(arguments, str) else json.dumps(arguments)
        steps += tool_call(index, f"call_{index}", name, written[:3], written[3:])
    return (*steps, finish("tool_calls"))


def script(model: ScriptedModel, tag: str, *rounds: Sequence[Call] | str) -> str:
    """Let the model ``scripted`` call tools, or say a text, round by round; what to say to it."""
    model.script(*(text(said) if isinstance(said, str) else calls(*said) for said in rounds), tag=tag)
    return f"Please. tag={tag}"


def one_call(call_id: str, name: str, arguments: str) -> Answer:
    """What a model says that makes one call, of an id of its own."""
    return Answer((*tool_call(0, call_id, name, arguments), finish("tool_calls")))


def types_of(response: JsonObject) -> list[str]:
    """The types of its output items."""
    return [item["type"] for item in response["output"]]


def of_type(response: JsonObject, kind: str) -> list[Any]:
    """Its output items of a type."""
    return [item for item in response["output"] if item["type"] == kind]


def called(body: JsonObject) -> list[str]:
    """The names of the functions that a request to a model server says were called."""
    return [call["function"]["name"] for message in body["messages"] for call in message.get("tool_calls", ())]


def offered(body: JsonObject) -> list[str]:
    """The names of the functions that a request to a model server offers."""
    return [tool["function"]["name"] for tool in body.get("tools", [])]
