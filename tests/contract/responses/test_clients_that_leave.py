"""Clients that hang up or read slowly: a turn that keeps something is finished, any other one is stopped."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

from harness.answers import ok
from harness.conversations import create, items_of, texts_of
from harness.event_stream import JsonObject
from harness.server import StackServer
from harness.turns import checked, post, request, text_of, turn
from scripted_model import ScriptedModel, Step
from scripted_model.answers import Answer, delta, finish, text

SETTLE_SECONDS = 20
EVENTS = 10
"""Of a turn whose answer is two deltas of text."""


def settled(http: httpx2.Client, response_id: str) -> JsonObject:
    """A response, once its turn has ended."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        response: JsonObject = ok(http.get(f"/responses/{response_id}"))
        if response["status"] != "in_progress":
            return response
    raise AssertionError(f"{response_id} is still in progress")


def unlocked(http: httpx2.Client, conversation_id: str) -> JsonObject:
    """A turn on a conversation, once it is not locked any more."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        answer = post(http, "echo", "Next", conversation=conversation_id)
        if answer.status_code == 200:
            response: JsonObject = answer.json()
            return response
        assert answer.json()["error"]["code"] == "conversation_locked"
    raise AssertionError(f"{conversation_id} is still locked")


@contextmanager
def left(server: StackServer, body: JsonObject) -> Iterator[socket.socket]:
    """A request whose client hangs up at the end of the block, whatever it has read by then."""
    parts = urlsplit(server.base_url)
    content = json.dumps(body).encode()
    head = f"POST {parts.path}/responses HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: {len(content)}\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=SETTLE_SECONDS) as connection:
        connection.sendall(head.encode() + content)
        yield connection


def newest_of(http: httpx2.Client, model_id: str) -> str:
    """The id of the response that a model was asked for last."""
    response_id: str = ok(http.get("/responses", params={"limit": 1, "model": model_id}))["data"][0]["id"]
    return response_id


@pytest.mark.parametrize("store", [True, False])
def test_a_streamed_turn_in_a_conversation_is_finished_and_kept(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str, store: bool
) -> None:
    conversation_id = create(http)
    body = request("slow", f"gate={tag} tag={tag}", stream=True, conversation=conversation_id, store=store)
    with left(server, body) as connection:
        received = b""
        while b'"delta":"before "' not in received:
            received += connection.recv(65536)
    model.open_gate(tag)
    unlocked(http, conversation_id)
    assert texts_of(items_of(http, conversation_id))[:2] == [f"gate={tag} tag={tag}", "before after"]
    [asked] = model.requests(tag=tag, ended=True)
    assert asked.outcome == "complete"


def test_a_streamed_turn_that_is_stored_is_finished_and_can_be_continued(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    with left(server, request("slow", f"gate={tag}", stream=True)):
        model.wait_until_reached(tag)
    response_id = newest_of(http, "slow")
    assert ok(http.get(f"/responses/{response_id}"))["status"] == "in_progress"
    model.open_gate(tag)
    assert text_of(settled(http, response_id)) == "before after"
    assert text_of(turn(http, "echo", "Next", previous_response_id=response_id)) == "seen=3 last=Next"


@pytest.mark.parametrize("store", [True, False])
def test_a_plain_turn_in_a_conversation_is_finished_and_kept(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str, store: bool
) -> None:
    conversation_id = create(http)
    with left(server, request("slow", f"gate={tag} tag={tag}", conversation=conversation_id, store=store)):
        model.wait_until_reached(tag)
    model.open_gate(tag)
    unlocked(http, conversation_id)
    assert texts_of(items_of(http, conversation_id))[1] == "before after"


def test_a_plain_turn_that_is_stored_is_finished(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    with left(server, request("slow", f"gate={tag}")):
        model.wait_until_reached(tag)
    response_id = newest_of(http, "slow")
    model.open_gate(tag)
    assert text_of(settled(http, response_id)) == "before after"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model_id", ["hang", "hang-mid"])
def test_a_turn_of_which_nothing_is_kept_stops_the_model_server(
    server: StackServer, model: ScriptedModel, tag: str, model_id: str, streamed: bool
) -> None:
    body = request(model_id, f"gate={tag} tag={tag}", stream=streamed, store=False)
    with left(server, body):
        model.wait_until_reached(tag)
    [asked] = model.requests(tag=tag, count=1, ended=True)
    assert asked.outcome == "disconnected"


def test_a_chained_turn_of_which_nothing_is_kept_stops_the_model_server(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    first = turn(http)
    body = request("hang", f"gate={tag} tag={tag}", stream=True, store=False, previous_response_id=first["id"])
    with left(server, body):
        model.wait_until_reached(tag)
    assert model.requests(tag=tag, count=1, ended=True)[0].outcome == "disconnected"


def _gated(tag: str) -> Answer:
    return Answer(
        (Step("gate", f"{tag}a"), delta(content="One "), Step("gate", f"{tag}b"), delta(content="two"), finish())
    )


def _read_events(connection: socket.socket, count: int, at: Callable[[int], None]) -> None:
    """Read so many events, saying before each how many were read."""
    received = b""
    while (seen := received.count(b"\n\nevent: ") + received.count(b"\r\nevent: ")) < count:
        at(seen)
        data = connection.recv(65536)
        assert data, received
        received += data


@pytest.mark.parametrize("kept_in", ["conversation", "response", "nothing"])
@pytest.mark.parametrize("events", range(EVENTS + 1))
def test_a_client_may_hang_up_after_any_event(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str, events: int, kept_in: str
) -> None:
    model.script(_gated(tag), tag=tag)
    fields: dict[str, Any] = {"conversation": create(http)} if kept_in == "conversation" else {}
    body = request("scripted", f"tag={tag}", stream=True, store=kept_in == "response", **fields)

    def open_gates(seen: int) -> None:
        if seen == 2:
            model.open_gate(f"{tag}a")
        elif seen == 5:
            model.open_gate(f"{tag}b")

    with left(server, body) as connection:
        model.wait_until_reached(f"{tag}a")
        _read_events(connection, events, open_gates)
    if kept_in == "nothing":
        [asked] = model.requests(tag=tag, count=1, ended=True)
        assert asked.outcome == "disconnected" or events > 5
    for gate in "ab":
        model.open_gate(f"{tag}{gate}")
    if kept_in == "conversation":
        unlocked(http, fields["conversation"])
        assert texts_of(items_of(http, fields["conversation"]))[:2] == [f"tag={tag}", "One two"]
    elif kept_in == "response":
        assert text_of(settled(http, newest_of(http, "scripted"))) == "One two"
    turn(http)


def test_a_client_that_hangs_up_while_the_model_fails_leaves_a_failed_response_and_no_lock(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    model.script((delta(content="A"), Step("gate", tag), Step("drop")), tag=tag)
    body = request("scripted", f"tag={tag}", stream=True, conversation=conversation_id)
    with left(server, body):
        model.wait_until_reached(tag)
    response_id = newest_of(http, "scripted")
    model.open_gate(tag)
    assert settled(http, response_id)["status"] == "failed"
    assert text_of(unlocked(http, conversation_id)) == "seen=1 last=Next"


def test_the_official_client_may_close_a_stream(
    client: OpenAI, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    with client.responses.create(
        model="slow", input=f"gate={tag}", stream=True, conversation=conversation_id
    ) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                break
    model.open_gate(tag)
    assert text_of(unlocked(http, conversation_id)) == "seen=3 last=Next"


async def test_the_official_asynchronous_client_may_close_a_stream_and_stop_the_model_server(
    async_client: AsyncOpenAI, model: ScriptedModel, tag: str
) -> None:
    async with await async_client.responses.create(
        model="hang-mid", input=f"gate={tag} tag={tag}", stream=True, store=False
    ) as events:
        async for event in events:
            if event.type == "response.output_text.delta":
                break
    [asked] = await model.ended(tag=tag)
    assert asked.outcome == "disconnected"


@pytest.mark.parametrize("store", [True, False])
def test_a_reader_that_is_slower_than_the_model_gets_the_whole_stream(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str, store: bool
) -> None:
    pieces = [f"{number:06} " + "x" * 8000 for number in range(300)]
    model.script(Answer(text(*pieces)), tag=tag)
    with left(server, request("scripted", f"tag={tag}", stream=True, store=store)) as connection:
        received = connection.recv(1)
        for _ in range(20):  # the server serves others meanwhile
            turn(http)
        while b"event: response.completed" not in received[-20_000_000:] or not received.endswith(b"0\r\n\r\n"):
            data = connection.recv(1 << 20)
            assert data
            received += data
    _, _, chunked = received.partition(b"\r\n\r\n")
    told = checked(http, _dechunked(chunked), stored=store)
    assert text_of(told.response) == "".join(pieces)


def _dechunked(data: bytes) -> bytes:
    """A body in chunked transfer coding (RFC 9112, 7.1) as it was."""
    body = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body.append(data[:length])
        data = data[length + 2 :]
    return b"".join(body)


def test_a_reader_that_takes_nothing_and_then_leaves_does_not_keep_the_turn_from_ending(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    pieces = ["x" * 8000] * 1500
    model.script(Answer((*(delta(content=piece) for piece in pieces), Step("gate", tag), finish())), tag=tag)
    body = request("scripted", f"tag={tag}", stream=True, conversation=conversation_id)
    with left(server, body) as connection:
        connection.recv(1)
        turn(http)
    model.open_gate(tag)
    unlocked(http, conversation_id)
    assert texts_of(items_of(http, conversation_id))[1] == "".join(pieces)
