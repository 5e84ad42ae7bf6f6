"""Streams of responses in the background: replayed and followed live, by any number, any number of times."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.background import begin_stream, follow, followed, queue, settled
from harness.server import StackServer
from harness.turns import stream, text_of, turn
from scripted_model import ScriptedModel

NOT_STREAMED = "was not created with background=true and stream=true"


def follow_some(http: httpx2.Client, response_id: str, events: int) -> None:
    """Follow a running response, and hang up after some events."""
    with http.stream("GET", f"/responses/{response_id}", params={"stream": "true"}) as answer:
        received = b""
        for data in answer.iter_bytes():
            received += data
            if received.count(b"\n\n") >= events:
                return


def test_who_hung_up_goes_on_where_it_was(http: httpx2.Client, model: ScriptedModel, tag: str, gate: str) -> None:
    response_id = begin_stream(http, "slow", gate)
    follow_some(http, response_id, 6)
    model.open_gate(tag)
    whole = followed(http, response_id)
    assert text_of(whole.response) == "before after"
    for after in (0, 1, 5, len(whole.events) - 2):
        assert follow(http, response_id, after) == list(whole.events[after + 1 :])


@pytest.mark.parametrize("beyond", [0, 1, 1000])
def test_behind_the_last_event_there_is_nothing(http: httpx2.Client, beyond: int) -> None:
    response_id = begin_stream(http)
    last = followed(http, response_id).events[-1]["sequence_number"]
    assert follow(http, response_id, last + beyond) == []


def test_many_follow_one_response_live(
    http: httpx2.Client, model: ScriptedModel, tag: str, gate: str, pool: ThreadPoolExecutor
) -> None:
    response_id = begin_stream(http, "slow", gate)
    model.wait_until_reached(tag)
    running = [pool.submit(follow, http, response_id, after) for after in (None, 0, 3, None)]
    follow_some(http, response_id, 6)
    model.open_gate(tag)
    whole = followed(http, response_id).events
    assert [one.result() for one in running] == [list(whole), list(whole[1:]), list(whole[4:]), list(whole)]


def test_another_process_follows_and_cancels(
    new_server: Any, tmp_path: Path, model: ScriptedModel, tag: str, gate: str, pool: ThreadPoolExecutor
) -> None:
    one: StackServer = new_server(tmp_path / "shared").start()
    with one.http() as http:
        first = begin_stream(http, "slow", gate)
        doomed = begin_stream(http, "hang-mid", f"tag={tag}-doomed gate={tag}-doomed")
        model.wait_until_reached(tag)
        model.wait_until_reached(f"{tag}-doomed")
        other: StackServer = new_server(tmp_path / "shared").start()
        with other.http() as others:
            live = pool.submit(follow, others, first)
            follow_some(others, first, 6)
            model.open_gate(tag)
            assert live.result() == followed(others, first).events == followed(http, first).events
            assert ok(others.post(f"/responses/{doomed}/cancel"))["status"] == "cancelled"
            assert followed(others, doomed).response["status"] == "cancelled"
            [asked] = model.requests(tag=f"{tag}-doomed", count=1, ended=True)
            assert asked.outcome == "disconnected"


def test_the_official_client_resumes_a_stream(client: OpenAI) -> None:
    created = client.responses.create(model="echo", input="Hello", background=True, stream=True)
    first = next(iter(created))
    created.close()
    events = list(client.responses.retrieve(first.response.id, stream=True, starting_after=first.sequence_number))
    assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "seen=1 last=Hello"


def test_a_model_that_says_much_is_followed_whole(http: httpx2.Client) -> None:
    words = " ".join(f"word{number}" for number in range(2000))
    response_id = begin_stream(http, "echo", words)
    told = followed(http, response_id)
    assert text_of(told.response) == f"seen=1 last={words}"
    assert len(told.events) > 2000


def test_only_what_was_streamed_in_the_background_is_replayed(http: httpx2.Client) -> None:
    queued = queue(http)["id"]
    settled(http, queued)
    for response_id in (turn(http)["id"], stream(http).response["id"], queued):
        answer = http.get(f"/responses/{response_id}", params={"stream": "true"})
        assert NOT_STREAMED in refused(answer, 400, None, "stream")


def test_what_cannot_be_followed_is_an_ordinary_error(http: httpx2.Client) -> None:
    unknown = "resp_" + "0" * 50
    refused(http.get(f"/responses/{unknown}", params={"stream": "true"}), 404)
    response_id = begin_stream(http)
    refused(
        http.get(f"/responses/{response_id}", params={"starting_after": "1"}), 400, "invalid_value", "starting_after"
    )
    wrong = http.get(f"/responses/{response_id}", params={"stream": "true", "starting_after": "x"})
    refused(wrong, 400, "invalid_type", "starting_after")
    ok(http.get(f"/responses/{response_id}", params={"stream": "false"}))
