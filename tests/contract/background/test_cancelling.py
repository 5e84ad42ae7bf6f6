"""Responses in the background that are cancelled: at once, the model server's call with them, and only once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.background import begin_stream, follow, followed, queue, settled
from harness.conversations import create, items_of
from harness.event_stream import JsonObject, check_stream
from harness.turns import post, text_of, turn
from scripted_model import ScriptedModel

STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def begin(http: httpx2.Client, streamed: bool, said: str, **fields: Any) -> str:
    """Begin a response that never ends by itself; its id."""
    if streamed:
        return begin_stream(http, "hang-mid", said, **fields)
    response_id: str = queue(http, "hang-mid", said, **fields)["id"]
    return response_id


def cancel(http: httpx2.Client, response_id: str) -> JsonObject:
    """Cancel a response; as it is then."""
    response: JsonObject = ok(http.post(f"/responses/{response_id}/cancel"))
    assert (response["status"], response["output"]) == ("cancelled", [])
    assert [response[name] for name in ("completed_at", "error", "incomplete_details")] == [None] * 3
    assert ok(http.get(f"/responses/{response_id}")) == response
    return response


@STREAMED
def test_one_that_runs_is_stopped_within_a_second_and_its_conversation_unlocked(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    conversation_id = create(http)
    response_id = begin(http, streamed, f"tag={tag} gate={tag}", conversation=conversation_id)
    model.wait_until_reached(tag)
    began = time.monotonic()
    cancelled = cancel(http, response_id)
    [asked] = model.requests(tag=tag, count=1, ended=True)
    assert asked.outcome == "disconnected"
    assert time.monotonic() - began < 1
    assert items_of(http, conversation_id) == []
    assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=1 last=Next"
    assert cancel(http, response_id) == cancelled


def test_its_stream_ends_with_a_failed_event_that_says_cancelled(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    response_id = begin(http, True, f"tag={tag} gate={tag}")
    live = pool.submit(follow, http, response_id)
    model.wait_until_reached(tag)
    cancel(http, response_id)
    told = followed(http, response_id)
    assert (told.types[-1], told.response["status"]) == ("failed", "cancelled")
    assert "error" not in told.types
    assert check_stream(live.result()) == told.response


@STREAMED
def test_one_that_waits_never_runs(new_server: Any, model: ScriptedModel, tag: str, gate: str, streamed: bool) -> None:
    server = new_server(server={"port": 0, "limits": {"max_background_turns": 1}}).start()
    with server.http() as http:
        running = queue(http, "slow", gate)["id"]
        model.wait_until_reached(tag)
        conversation_id = create(http)
        waiting = begin(http, streamed, f"tag={tag}-waits", conversation=conversation_id)
        assert cancel(http, waiting) == cancel(http, waiting)
        if streamed:
            assert [event["type"] for event in follow(http, waiting)] == [
                "response.created",
                "response.queued",
                "response.failed",
            ]
        assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=1 last=Next"
        model.open_gate(tag)
        settled(http, running)
        assert text_of(settled(http, queue(http)["id"])) == "seen=1 last=Hello"
        assert model.requests(tag=f"{tag}-waits") == []


def test_what_has_ended_or_is_not_in_the_background_cannot_be_cancelled(http: httpx2.Client) -> None:
    finished = queue(http)["id"]
    settled(http, finished)
    assert "completed already" in refused(http.post(f"/responses/{finished}/cancel"), 400)
    failed = queue(http, "status-500")["id"]
    settled(http, failed)
    assert "failed already" in refused(http.post(f"/responses/{failed}/cancel"), 400)
    plain = turn(http)["id"]
    assert "'background': true" in refused(http.post(f"/responses/{plain}/cancel"), 400)
    assert text_of(ok(http.get(f"/responses/{plain}"))) == "seen=1 last=Hello"
    refused(http.post("/responses/resp_" + "0" * 50 + "/cancel"), 404)


def test_a_cancelled_response_cannot_be_continued(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    response_id = begin(http, False, f"tag={tag} gate={tag}")
    model.wait_until_reached(tag)
    cancel(http, response_id)
    message = refused(post(http, previous_response_id=response_id), 400, None, "previous_response_id")
    assert "cancelled" in message


def test_the_official_client_cancels(client: OpenAI, model: ScriptedModel, tag: str) -> None:
    response = client.responses.create(model="hang", input=f"tag={tag} gate={tag}", background=True)
    model.wait_until_reached(tag)
    assert client.responses.cancel(response.id).status == "cancelled"
