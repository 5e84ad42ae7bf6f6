"""A second turn over every type of item: what a strict upstream of the Responses API is sent is accepted by it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from harness.answers import refused
from harness.conversations import create, items_of, user
from harness.histories import HELD, second_turn
from harness.turns import TIME, WEATHER, post, sent, turn
from scripted_model import ScriptedModel

SEALED_ELSEWHERE = {"reasoning sealed elsewhere", "compaction"}
"""What only its maker can open. It may be this upstream, so it is sent; another one says that it is not."""


@pytest.mark.parametrize("kind", [kind for kind in HELD if kind not in SEALED_ELSEWHERE])
@pytest.mark.parametrize("how", ["conversation", "input", "chain"])
def test_a_history_with_every_type_of_item_is_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str, kind: str, how: str
) -> None:
    second_turn(http, "upstream/echo", kind, how, tag)
    assert sent(model, tag)[0].body["input"][-1]["content"][0]["text"] == f"Go on. tag={tag}"


@pytest.mark.parametrize("kind", sorted(SEALED_ELSEWHERE))
def test_what_another_upstream_sealed_is_refused_in_its_words_and_leaves_no_lock(
    http: httpx2.Client, kind: str
) -> None:
    conversation_id = create(http, HELD[kind])
    for _ in range(2):
        message = refused(
            post(http, "upstream/echo", "Go on.", conversation=conversation_id),
            400,
            "invalid_encrypted_content",
            "input",
        )
        assert "could not be verified" in message
    for item in items_of(http, conversation_id):
        http.delete(f"/conversations/{conversation_id}/items/{item['id']}").raise_for_status()
    turn(http, "upstream/echo", "Go on.", conversation=conversation_id)


MADE = ["echo", "reasoning", "refusal", "length", "content-filter", "hosted", "no-ids", "odd-ids", "terminal-only"]
CALLING = ["tool", "parallel-tools", "reasoning-tool", "custom"]
TOOLS: list[Any] = [WEATHER, TIME, {"type": "custom", "name": "run"}, {"type": "web_search"}]


@pytest.mark.parametrize("mode", [*MADE, *CALLING])
@pytest.mark.parametrize("kept", ["conversation", "chain", "replay"])
def test_whatever_a_turn_makes_the_next_is_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str, mode: str, kept: str
) -> None:
    history: dict[str, Any] = {"conversation": create(http)} if kept == "conversation" else {}
    sealed = {"include": ["reasoning.encrypted_content"], "tools": TOOLS}
    first = turn(http, f"upstream/{mode}", "Hello", **history, **sealed)
    calls = [item for item in first["output"] if item["type"].endswith(("function_call", "tool_call"))]
    outputs: list[Any] = [
        {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "done"} for item in calls
    ]
    said = [*outputs, user(f"Go on. tag={tag}")]
    if kept == "replay":
        said = [user("Hello"), *first["output"], *said]
    elif kept == "chain":
        history = {"previous_response_id": first["id"]}
    turn(http, "upstream/echo", said, **history)
    told = [item["type"] for item in sent(model, tag)[0].body["input"]]
    assert told == ["message", *(item["type"] for item in first["output"]), *(o["type"] for o in outputs), "message"]
