"""Turns over plain HTTP: each answer is looked at as a whole before a test looks at what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from harness.answers import ok
from harness.event_stream import JsonObject, check_stream, read_frames
from scripted_model import LoggedRequest, ScriptedModel

WEATHER: JsonObject = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather now",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
TIME: JsonObject = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}


@dataclass(frozen=True)
class Stream:
    """A validated stream and its last response."""

    events: Sequence[JsonObject]
    response: JsonObject

    @property
    def types(self) -> list[str]:
        """The events' types in short, without ``response.``."""
        return [event["type"].removeprefix("response.") for event in self.events]

    def of_type(self, kind: str) -> list[JsonObject]:
        """The events of a type, given in short."""
        return [event for event in self.events if event["type"] == f"response.{kind}"]


def request(model: str = "echo", said: Any = "Hello", **fields: object) -> JsonObject:
    """A request's body."""
    return {"model": model, "input": said, **fields}


def post(http: httpx2.Client, model: str = "echo", said: Any = "Hello", **fields: object) -> httpx2.Response:
    """Take a turn; the answer, whatever it is."""
    return http.post("/responses", json=request(model, said, **fields))


def turn(http: httpx2.Client, model: str = "echo", said: Any = "Hello", **fields: object) -> JsonObject:
    """Take a turn; its response, which is what can be retrieved afterwards."""
    response: JsonObject = ok(post(http, model, said, **fields))
    check_stored(http, response, stored=fields.get("store") is not False)
    return response


def stream(http: httpx2.Client, model: str = "echo", said: Any = "Hello", **fields: object) -> Stream:
    """Take a streamed turn; its events, validated, the last of which shows what can be retrieved afterwards."""
    answer = post(http, model, said, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-request-id"].startswith("req_")
    return checked(http, answer.content, stored=fields.get("store") is not False)


def checked(http: httpx2.Client, body: bytes, *, stored: bool = True) -> Stream:
    """A stream's bytes, looked at as a whole."""
    events = read_frames(body)
    response = check_stream(events)
    check_stored(http, response, stored=stored)
    return Stream(events, response)


def check_stored(http: httpx2.Client, response: JsonObject, *, stored: bool) -> None:
    """What is stored is what was shown; or nothing is."""
    answer = http.get(f"/responses/{response['id']}")
    if stored:
        assert ok(answer) == response
    else:
        assert answer.status_code == 404, answer.text


def text_of(response: JsonObject) -> str:
    """The text of a response that is one message of one part."""
    [item] = response["output"]
    [part] = item["content"]
    assert (item["type"], part["type"]) == ("message", "output_text")
    text: str = part["text"]
    return text


def sent(model: ScriptedModel, tag: str, count: int = 1) -> list[LoggedRequest]:
    """The requests with a tag that the model server got; there are ``count``, each answered."""
    found = model.requests(tag=tag, count=count)
    assert len(found) == count, [one.body for one in found]
    return found


def messages_for(model: ScriptedModel, tag: str) -> list[JsonObject]:
    """The messages of the one request with a tag."""
    messages: list[JsonObject] = sent(model, tag)[0].body["messages"]
    return messages


def input_items(http: httpx2.Client, response_id: str, **query: object) -> list[JsonObject]:
    """A response's input items, oldest first."""
    page = ok(http.get(f"/responses/{response_id}/input_items", params={"order": "asc", "limit": 100, **query}))
    assert not page["has_more"]
    items: list[JsonObject] = page["data"]
    return items
