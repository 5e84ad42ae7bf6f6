"""A second turn over every type of item: the history that a strict model server is sent is one that it accepts."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, user
from harness.histories import HELD, second_turn
from harness.tools import script
from harness.turns import TIME, WEATHER, check_stored, messages_for, post, sent, turn
from scripted_model import ScriptedModel


@pytest.mark.parametrize("kind", HELD)
@pytest.mark.parametrize("how", ["conversation", "input", "chain"])
def test_a_history_with_every_type_of_item_is_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str, kind: str, how: str
) -> None:
    second_turn(http, "echo", kind, how, tag)
    messages = messages_for(model, tag)
    assert (messages[-1]["role"], messages[-1]["content"]) == ("user", f"Go on. tag={tag}")
    for message in messages:
        for call in message.get("tool_calls", ()):
            assert len(call["id"]) <= 40


SYSTEM = {"role": "system", "content": "Rules"}
DEVELOPER = {"role": "developer", "content": "More rules"}


@pytest.mark.parametrize(
    ("items", "fields"),
    [
        ([SYSTEM, user("Hello")], {"instructions": "Be brief."}),
        ([SYSTEM, DEVELOPER, user("Hello")], {}),
        ([user("Hello"), {"role": "assistant", "content": "Hi"}, DEVELOPER, user("And?")], {}),
    ],
    ids=["instructions and a system message", "two at the beginning", "one in the middle"],
)
def test_a_model_that_takes_one_system_message_at_the_beginning_is_given_one(
    short: httpx2.Client, items: list[Any], fields: dict[str, Any]
) -> None:
    answered = turn(short, "templated/system-first", items, **fields)
    assert answered["status"] == "completed"
    fields |= {"previous_response_id": answered["id"]}
    fields |= {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    again = turn(short, "templated/system-first", [DEVELOPER, user("word " * 2000)], **fields)
    assert [item["type"] for item in again["output"]] == ["compaction", "message"]


def test_a_system_message_further_on_goes_where_it_stands_unless_it_is_said_that_it_cannot(
    http: httpx2.Client, short: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    items = [user("Hello"), DEVELOPER, user(f"And? tag={tag}")]
    for client, name in ((http, "echo"), (short, "templated/system-first")):
        turn(client, name, items)
    anywhere, first = ([message["role"] for message in request.body["messages"]] for request in sent(model, tag, 2))
    assert anywhere == ["user", "system", "user"]
    assert first == ["user", "user", "user"]
    refusal = refused(post(http, "system-first", items), 400)
    assert "System message must be at the beginning" in refusal


MADE = ["echo", "reasoning", "reasoning-alt", "refusal", "length", "content-filter", "empty", "unicode", "logprobs"]
CALLING = [
    "tool",
    "parallel-tools",
    "text-and-tool",
    "reasoning-tool",
    "tool-no-id",
    "tool-whole",
    "tool-bad-arguments",
]


@pytest.mark.parametrize("mode", [*MADE, *CALLING])
@pytest.mark.parametrize("kept", ["conversation", "chain", "replay"])
def test_whatever_a_turn_makes_the_next_is_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str, mode: str, kept: str
) -> None:
    history: dict[str, Any] = {"conversation": create(http)} if kept == "conversation" else {}
    sealed = {"include": ["reasoning.encrypted_content"], "tools": [WEATHER, TIME]}
    first = turn(http, mode, "Hello", **history, **sealed)
    outputs: list[Any] = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "done"}
        for item in first["output"]
        if item["type"] == "function_call"
    ]
    said = [*outputs, user(f"Go on. tag={tag}")]
    if kept == "replay":
        said = [user("Hello"), *first["output"], *said]
    elif kept == "chain":
        history = {"previous_response_id": first["id"]}
    turn(http, "echo", said, **history)
    roles = [message["role"] for message in messages_for(model, tag)]
    assert roles == ["user", "assistant", *["tool"] * len(outputs), "user"]


def test_a_custom_call_and_a_compaction_made_by_turns_are_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    fields = {"conversation": conversation_id, "tools": [{"type": "custom", "name": "run"}]}
    first = turn(http, "scripted", script(model, tag, [("run", {"input": "x"})]), **fields)
    output = {"type": "custom_tool_call_output", "call_id": first["output"][0]["call_id"], "output": "y " * 3000}
    threshold = [{"type": "compaction", "compact_threshold": 1000}]
    answer = post(http, "echo", [output, user("Go on.")], context_management=threshold, **fields)
    second = ok(answer)
    assert [item["type"] for item in second["output"]] == ["compaction", "message"]
    check_stored(http, second, stored=True)
    turn(http, "echo", f"And on. tag={tag}-last", conversation=conversation_id)
    assert messages_for(model, f"{tag}-last")[0]["role"] == "system"
