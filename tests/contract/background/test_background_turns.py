"""Responses in the background: queued, run, kept; with every parameter, and their conversation locked till the end."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.background import begin_stream, followed, queue, settled, taken_up
from harness.conversations import create, items_of, texts_of
from harness.turns import TIME, WEATHER, check_stored, checked, input_items, post, sent, text_of, turn
from harness.waiting import pause
from scripted_model import ScriptedModel

STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def begin(http: httpx2.Client, streamed: bool, model: str, said: Any, **fields: Any) -> str:
    """Begin a response in the background; its id."""
    if streamed:
        return begin_stream(http, model, said, **fields)
    response_id: str = queue(http, model, said, **fields)["id"]
    return response_id


def test_it_is_queued_then_in_progress_then_completed(http: httpx2.Client, model: ScriptedModel, tag: str, gate: str):
    shown = queue(http, "slow", gate, metadata={"k": "v"})
    running = taken_up(http, shown["id"])
    assert running == shown | {"status": "in_progress"}
    model.open_gate(tag)
    done = settled(http, shown["id"])
    assert (text_of(done), done["status"], done["usage"]["total_tokens"] > 0) == ("before after", "completed", True)
    same = shown.keys() - {"status", "completed_at", "output", "usage"}
    assert {name: done[name] for name in same} == {name: shown[name] for name in same}
    assert texts_of(input_items(http, done["id"])) == [gate]
    assert text_of(turn(http, "echo", "Next", previous_response_id=done["id"])) == "seen=3 last=Next"


def test_its_stream_begins_with_queued(http: httpx2.Client) -> None:
    answer = post(http, background=True, stream=True)
    told = checked(http, answer.content)
    assert told.types[:4] == ["created", "queued", "in_progress", "output_item.added"]
    assert [event["response"]["status"] for event in told.events[:3]] == ["queued", "queued", "in_progress"]
    assert text_of(told.response) == "seen=1 last=Hello"


def test_the_official_client_polls_one(client: OpenAI) -> None:
    response = client.responses.create(model="echo", input="Hello", background=True)
    assert response.status == "queued"
    while response.status in ("queued", "in_progress"):
        response = client.responses.retrieve(response.id)
        pause()
    assert response.output_text == "seen=1 last=Hello"


@STREAMED
def test_its_conversation_is_locked_until_it_has_ended(
    http: httpx2.Client, model: ScriptedModel, tag: str, gate: str, streamed: bool
) -> None:
    conversation_id = create(http)
    response_id = begin(http, streamed, "slow", gate, conversation=conversation_id)
    for fields in ({}, {"background": True}, {"background": True, "stream": True}):
        locked = post(http, conversation=conversation_id, **fields)
        refused(locked, 400, "conversation_locked", "conversation")
        assert (locked.headers["x-should-retry"], locked.headers["retry-after-ms"]) == ("true", "1000")
    model.wait_until_reached(tag)
    assert items_of(http, conversation_id) == []
    model.open_gate(tag)
    done = settled(http, response_id)
    assert texts_of(items_of(http, conversation_id)) == [gate, "before after"]
    assert done["conversation"] == {"id": conversation_id}
    assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=3 last=Next"


def test_every_parameter_is_kept(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    fields: dict[str, Any] = {
        "instructions": "Be brief.",
        "tools": [WEATHER, TIME],
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "max_tool_calls": 3,
        "max_output_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_logprobs": 2,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "truncation": "auto",
        "metadata": {"k": "v"},
        "service_tier": "flex",
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "c",
        "include": ["reasoning.encrypted_content"],
        "context_management": [{"type": "compaction", "compact_threshold": 100_000}],
    }
    there = turn(http, "echo", f"tag={tag}", **fields)
    done = settled(http, queue(http, "echo", f"tag={tag}", **fields)["id"])
    of_its_own = {"id", "created_at", "completed_at", "background", "output"}
    assert {k: v for k, v in done.items() if k not in of_its_own} == {
        k: v for k, v in there.items() if k not in of_its_own
    }
    first, second = sent(model, tag, 2)
    assert second.body == first.body


def test_one_that_is_not_to_be_stored_can_be_retrieved_all_the_same(http: httpx2.Client) -> None:
    response = queue(http, store=False)
    done = settled(http, response["id"])
    assert (text_of(done), done["store"]) == ("seen=1 last=Hello", False)


@STREAMED
@pytest.mark.parametrize(
    ("model_id", "code"), [("status-400", "invalid_prompt"), ("status-429", "rate_limit_exceeded"), ("drop-mid", None)]
)
def test_a_model_that_fails_is_told_by_the_response(
    http: httpx2.Client, model_id: str, code: str | None, streamed: bool
) -> None:
    conversation_id = create(http)
    response_id = begin(http, streamed, model_id, "Hello", conversation=conversation_id)
    done = settled(http, response_id)
    assert (done["status"], done["output"]) == ("failed", [])
    assert done["error"]["code"] == (code or "server_error")
    assert items_of(http, conversation_id) == []
    if streamed:
        assert followed(http, response_id).types[-2:] == ["error", "failed"]


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"previous_response_id": "resp_" + "0" * 50}, 400, "previous_response_not_found", "previous_response_id"),
        ({"conversation": "conv_" + "0" * 48}, 404, None, None),
        ({"model": "no-such"}, 400, "model_not_found", "model"),
        ({"moderation": {"model": "m"}}, 400, "unsupported_parameter", "moderation"),
        ({"prompt": {"id": "pmpt_" + "0" * 48}}, 404, None, None),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, 400, None, "input"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@STREAMED
def test_what_is_wrong_with_the_request_is_refused_before_anything_is_stored(
    http: httpx2.Client, fields: dict[str, Any], status: int, code: str | None, param: str | None, streamed: bool
) -> None:
    body = {"model": "echo", "input": "Hello", "background": True, "stream": streamed, **fields}
    newest = ok(http.get("/responses", params={"limit": 1}))["data"]
    refused(http.post("/responses", json=body), status, code, param)
    assert ok(http.get("/responses", params={"limit": 1}))["data"] == newest


@STREAMED
def test_a_full_queue_is_told_before_anything_is_stored(
    new_server: Any, model: ScriptedModel, tag: str, gate: str, streamed: bool
) -> None:
    server = new_server(server={"port": 0, "limits": {"max_queued_turns": 1, "max_background_turns": 1}}).start()
    with server.http() as http:
        conversation_id = create(http)
        running = queue(http, "slow", gate)["id"]
        model.wait_until_reached(tag)
        waiting = begin(http, streamed, "echo", "Hello")
        before = ok(http.get("/responses"))
        full = post(http, background=True, stream=streamed, conversation=conversation_id)
        message = refused(full, 429, "rate_limit_exceeded", kind="requests")
        assert "1" in message
        assert full.headers["retry-after"] == "1"
        assert ok(http.get("/responses")) == before
        assert text_of(turn(http, conversation=conversation_id)) == "seen=1 last=Hello"
        assert ok(http.get(f"/responses/{waiting}"))["status"] == "queued"
        model.open_gate(tag)
        assert [text_of(settled(http, name)) for name in (running, waiting)] == ["before after", "seen=1 last=Hello"]


@STREAMED
@pytest.mark.parametrize("when", ["queued", "running"])
def test_one_that_is_deleted_before_its_end_is_stopped_and_its_conversation_unlocked(
    new_server: Any, model: ScriptedModel, tag: str, gate: str, streamed: bool, when: str
) -> None:
    server = new_server(server={"port": 0, "limits": {"max_background_turns": 1}}).start()
    with server.http() as http:
        conversation_id = create(http)
        if when == "queued":
            queue(http, "slow", gate)
            model.wait_until_reached(tag)
        doomed = begin(http, streamed, "hang", f"tag={tag}-doomed gate={tag}-doomed", conversation=conversation_id)
        if when == "running":
            model.wait_until_reached(f"{tag}-doomed")
        ok(http.delete(f"/responses/{doomed}"))
        refused(http.get(f"/responses/{doomed}"), 404)
        assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=1 last=Next"
        asked = model.requests(tag=f"{tag}-doomed", count=int(when == "running"), ended=True)
        assert [request.outcome for request in asked] == ["disconnected"] * (when == "running")
        model.open_gate(tag)
        assert text_of(settled(http, queue(http)["id"])) == "seen=1 last=Hello"
    server.stop()
    assert "Traceback" not in server.log, server.log


def test_many_at_once_all_end_well(http: httpx2.Client) -> None:
    ids = [queue(http, "echo", f"number {number}")["id"] for number in range(100)]
    assert [text_of(settled(http, name)) for name in ids] == [f"seen=1 last=number {n}" for n in range(100)]
    check_stored(http, json.loads(http.get(f"/responses/{ids[0]}").content), stored=True)
