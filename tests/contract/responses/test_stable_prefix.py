"""What one turn tells the model server is, byte for byte, the beginning of what the next one tells it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from harness.conversations import create, user
from harness.turns import TIME, WEATHER, sent, stream, turn
from scripted_model import LoggedRequest, ScriptedModel
from scripted_model.answers import delta, finish, text, tool_call
from scripted_model.modes import PARIS, UNICODE_TEXT

TURNS = 10
HEAD = '{"messages":'


def outputs_for(response: dict[str, Any]) -> list[dict[str, str]]:
    """An output for every call of a response."""
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": "done"} for call in calls]


def messages_text(request: LoggedRequest) -> str:
    """The messages of a request as they were written, without the end of their array."""
    assert request.raw.startswith(HEAD)
    _, end = json.JSONDecoder().raw_decode(request.raw, len(HEAD))
    return request.raw[: end - 1]


def check_prefixes(requests: list[LoggedRequest]) -> None:
    texts = [messages_text(request) for request in requests]
    for before, after in pairwise(texts):
        assert after.startswith(f"{before},")


@pytest.mark.parametrize("kept_in", ["conversation", "chain"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "mode", ["echo", "tool", "parallel-tools", "text-and-tool", "reasoning", "reasoning-tool", "unicode", "length"]
)
def test_messages_of_a_turn_are_a_prefix_of_the_next_turns(
    http: httpx2.Client, model: ScriptedModel, tag: str, mode: str, streamed: bool, kept_in: str
) -> None:
    conversation_id = create(http, [{"role": "system", "content": UNICODE_TEXT}, user(f"Begin tag={tag}")])
    fields: dict[str, Any] = {"conversation": conversation_id}
    for number in range(TURNS):
        asked: list[Any] = [user([{"type": "input_text", "text": f"{UNICODE_TEXT} {number} tag={tag}"}])]
        if number and "tool" in mode:
            asked = outputs_for(response) or asked  # noqa: F821 (the turn before)
        fields |= {"instructions": "Be brief.", "tools": [WEATHER, TIME]}
        take = (lambda *a, **f: stream(*a, **f).response) if streamed else turn
        response = take(http, mode, asked, **fields)
        if kept_in == "chain":
            fields = {"previous_response_id": response["id"]}
    check_prefixes(sent(model, tag, TURNS))


@pytest.mark.parametrize("kept_in", ["conversation", "chain"])
def test_messages_stay_a_prefix_while_the_model_calls_one_tool_after_the_other(
    http: httpx2.Client, model: ScriptedModel, tag: str, kept_in: str
) -> None:
    calls = [
        (delta(reasoning_content="Hm."), *tool_call(0, f"call_{number}", "get_weather", PARIS), finish("tool_calls"))
        for number in range(TURNS - 1)
    ]
    model.script(*calls, text("Done."), tag=tag)
    fields: dict[str, Any] = {"conversation": create(http)} if kept_in == "conversation" else {}
    response = turn(http, "scripted", f"Everywhere? tag={tag}", tools=[WEATHER], **fields)
    while outputs := outputs_for(response):
        if kept_in == "chain":
            fields = {"previous_response_id": response["id"]}
        response = turn(http, "scripted", outputs, tools=[WEATHER], **fields)
    check_prefixes(sent(model, tag, TURNS))


def test_messages_of_a_replayed_history_are_those_of_a_kept_one(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    replayed: list[Any] = [user(f"Weather? tag={tag}")]
    first = turn(http, "tool", replayed, conversation=conversation_id, tools=[WEATHER])
    replayed += [*first["output"], *outputs_for(first)]
    turn(http, "tool", outputs_for(first), conversation=conversation_id, tools=[WEATHER])
    turn(http, "tool", replayed, tools=[WEATHER])
    _, kept, sent_again = sent(model, tag, 3)
    assert messages_text(kept) == messages_text(sent_again)


def test_the_same_request_is_written_in_the_same_bytes(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    for _ in range(2):
        turn(http, "echo", f"{UNICODE_TEXT} tag={tag}", tools=[WEATHER, TIME], temperature=0.3, instructions="x")
    first, second = sent(model, tag, 2)
    assert first.raw == second.raw
