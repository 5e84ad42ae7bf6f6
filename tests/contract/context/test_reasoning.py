"""What a model thinks: told apart from its answer, as text or summary, sealed for clients that keep it themselves."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.conversations import user
from harness.turns import messages_for, sent, stream, text_of, turn
from scripted_model import Answer, ScriptedModel, Step
from scripted_model.answers import finish, text

SEALED = ["reasoning.encrypted_content"]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "pieces",
    [
        ("<think>", "Let me think.", "</think>", "42"),
        ("<th", "ink>\nLet me", " think.\n</thi", "nk>\n\n42"),
        ("<think>Let me think.</think>42",),
        ("[THINK]Let me think.[/THINK]", "42"),
    ],
    ids=["each a piece", "cut anywhere", "all at once", "other tags"],
)
def test_thoughts_between_tags_are_no_part_of_the_answer(
    http: httpx2.Client, model: ScriptedModel, tag: str, pieces: tuple[str, ...], streamed: bool
) -> None:
    model.script(text(*pieces), tag=tag)
    take: Any = (lambda *a, **k: stream(*a, **k).response) if streamed else turn
    thought, message = take(http, "scripted", f"tag={tag}")["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Let me think."}]
    assert message["content"][0]["text"] == "42"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_thoughts_in_parts_as_mistrals_models_write_them_are_no_part_of_the_answer(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Let me "}, {"type": "reference"}]},
        {"type": "thinking", "thinking": [{"type": "text", "text": "think."}], "closed": True},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "42"},
    ]
    chunks = (Step("chunk", {"choices": [{"index": 0, "delta": {"content": [part]}}]}) for part in parts)
    whole = json.dumps({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]})
    model.script(Answer((*chunks, finish())) if streamed else Answer(body=whole), tag=tag)
    take: Any = (lambda *a, **k: stream(*a, **k).response) if streamed else turn
    thought, message = take(http, "scripted", f"tag={tag}")["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Let me think."}]
    assert message["content"][0]["text"] == "42"


def test_tags_elsewhere_are_text(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script(text("Write <think>", "x</think>."), tag=tag)
    assert text_of(stream(http, "scripted", f"tag={tag}").response) == "Write <think>x</think>."


@pytest.mark.parametrize("asked", [{"summary": "auto"}, {"summary": "detailed"}, {"generate_summary": "concise"}])
def test_thoughts_are_shown_as_a_summary_where_one_is_asked_for(http: httpx2.Client, asked: dict[str, str]) -> None:
    told = stream(http, "reasoning", reasoning=asked)
    [thought, _] = told.response["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "Let me think."}]
    assert "content" not in thought
    assert told.types[2:7] == [
        "output_item.added",
        "reasoning_summary_part.added",
        *["reasoning_summary_text.delta"] * 2,
        "reasoning_summary_text.done",
    ]
    assert told.response["reasoning"] == {"effort": None, "summary": next(iter(asked.values()))}


@pytest.mark.parametrize("shown", [{}, {"reasoning": {"summary": "auto"}}], ids=["text", "summary"])
def test_sealed_thoughts_come_back_from_clients_that_keep_them(
    http: httpx2.Client, model: ScriptedModel, tag: str, shown: dict[str, Any]
) -> None:
    first = stream(http, "reasoning", store=False, include=SEALED, **shown).response
    [thought, _] = first["output"]
    assert thought["encrypted_content"].startswith("lcs1.")
    assert "think" not in thought["encrypted_content"]
    assert "status" not in thought
    history = [user("Hello"), *first["output"], user(f"And? tag={tag}")]
    assert turn(http, "echo", history, store=False)["status"] == "completed"
    assert [message["role"] for message in messages_for(model, tag)] == ["user", "assistant", "user"]
    changed = [{**thought, "encrypted_content": "gAAAA"}, first["output"][1], user("And?")]
    assert turn(http, "echo", changed)["status"] == "completed"


def test_effort_is_told_to_the_model(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    response = turn(http, "echo", f"tag={tag}", reasoning={"effort": "high"})
    assert sent(model, tag)[0].body["reasoning_effort"] == "high"
    assert response["reasoning"] == {"effort": "high", "summary": None}


def test_thoughts_without_an_answer_are_kept(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script(text("<think>", "Hm."), tag=tag)
    response = stream(http, "scripted", f"tag={tag}").response
    assert response["output"][0]["content"][0]["text"] == "Hm."
    assert turn(http, previous_response_id=response["id"])["status"] == "completed"


def test_the_official_client_accepts_sealed_thoughts(strict_client: OpenAI) -> None:
    response = strict_client.responses.create(model="reasoning", input="Hello", include=["reasoning.encrypted_content"])
    assert response.output[0].type == "reasoning"
    assert response.output[0].encrypted_content
