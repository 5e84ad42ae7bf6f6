"""Responses in the background over plain HTTP."""

from __future__ import annotations

import time
from typing import Any

import httpx2

from harness.answers import ok
from harness.event_stream import TERMINAL, JsonObject, check_stream, read_frames
from harness.turns import Stream, check_stored, post
from harness.waiting import pause

SETTLE_SECONDS = 20
ENDED = {*TERMINAL.values(), "cancelled"}


def queue(http: httpx2.Client, model: str = "echo", said: Any = "Hello", **fields: object) -> JsonObject:
    """Begin a response in the background; as it is then, with nothing done."""
    response: JsonObject = ok(post(http, model, said, background=True, **fields))
    assert (response["status"], response["background"], response["output"]) == ("queued", True, [])
    assert [response[name] for name in ("completed_at", "error", "incomplete_details", "usage")] == [None] * 4
    return response


def settled(http: httpx2.Client, response_id: str) -> JsonObject:
    """A response, once it has ended."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        response: JsonObject = ok(http.get(f"/responses/{response_id}"))
        if response["status"] in ENDED:
            return response
        pause()
    raise AssertionError(f"{response_id} has not ended")


def taken_up(http: httpx2.Client, response_id: str) -> JsonObject:
    """A response, once it is not queued any more."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        response: JsonObject = ok(http.get(f"/responses/{response_id}"))
        if response["status"] != "queued":
            return response
        pause()
    raise AssertionError(f"{response_id} still waits")


def follow(http: httpx2.Client, response_id: str, after: int | None = None) -> list[JsonObject]:
    """The events of a streamed response behind a number, as they come, until its end."""
    query = {"stream": "true"} | ({} if after is None else {"starting_after": str(after)})
    answer = http.get(f"/responses/{response_id}", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return read_frames(answer.content)


def followed(http: httpx2.Client, response_id: str, *, begun_anew: bool = False) -> Stream:
    """The whole stream of a response, validated."""
    events = follow(http, response_id)
    response = check_stream(events, begun_anew=begun_anew)
    check_stored(http, response, stored=True)
    return Stream(events, response)


def begin_stream(http: httpx2.Client, model: str = "echo", said: Any = "Hello", **fields: object) -> str:
    """Begin a streamed response in the background and hang up after its first event; its id."""
    body = {"model": model, "input": said, "background": True, "stream": True, **fields}
    with http.stream("POST", "/responses", json=body) as answer:
        assert answer.status_code == 200, answer.read()
        received = b""
        for data in answer.iter_bytes():
            received += data
            if b"\n\n" in received:
                break
    [first] = read_frames(received[: received.index(b"\n\n") + 2])
    response: JsonObject = first["response"]
    assert (first["type"], first["sequence_number"], response["status"]) == ("response.created", 0, "queued")
    response_id: str = response["id"]
    return response_id
