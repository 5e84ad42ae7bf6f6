"""The stream of a response that has ended, told from what is stored: every item grows in one step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from pydantic_core import from_json, to_json

from llama_conversations.services.responses.chat_deltas import RefusalDelta, TextDelta
from llama_conversations.services.responses.output_calls import FunctionCallItem
from llama_conversations.services.responses.output_items import MessageItem
from llama_conversations.services.responses.snapshot import terminal_event
from llama_conversations.storage.records import ResponseStatus
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import (
    ErrorEvent,
    Event,
    EventWriter,
    JsonObject,
    OutputItemAdded,
    OutputItemDone,
    ResponseEvent,
)
from llama_conversations.wire.items import Status

_NOT_YET: JsonObject = {
    "status": "in_progress",
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
    "usage": None,
    "output": [],
}


def retold(body: bytes) -> bytes:
    """Server-sent events that end with this response, which is terminal (JSON in UTF-8)."""
    writer = EventWriter()
    return b"".join(writer.frame(event) for event in _events(from_json(body), body))


def _events(response: JsonObject, body: bytes) -> Iterator[Event]:
    begun = to_json(response | _NOT_YET)
    yield ResponseEvent("response.created", begun)
    yield ResponseEvent("response.in_progress", begun)
    for index, item in enumerate(cast("list[JsonObject]", response["output"])):
        yield from _item(index, item)
    if response["error"] is not None:
        error = cast("dict[str, str]", response["error"])
        yield ErrorEvent(code=error["code"], message=error["message"], param=None)
    yield ResponseEvent(terminal_event(cast("ResponseStatus", response["status"])), body)


def _item(index: int, item: JsonObject) -> Iterator[Event]:
    """An item that the growing items cannot make just so is shown as a whole, twice."""
    events, made = _grown(index, item)
    if made == item:
        yield from events
    else:
        yield OutputItemAdded(index, item)
        yield OutputItemDone(index, item)


def _grown(index: int, item: JsonObject) -> tuple[list[Event], JsonObject | None]:
    status, item_id = cast("Status", item.get("status")), str(item["id"])
    if item["type"] == "message":
        parts = cast("list[JsonObject]", item["content"])
        annotations = iter([cast("list[JsonObject]", part["annotations"]) for part in parts if "annotations" in part])
        message = MessageItem(item_id, index, cite=lambda _: next(annotations, []))
        events = [*message.open()]
        for part in parts:
            events += message.add(_delta(part))
        return [*events, *message.close(status)], message.item()
    if item["type"] == "function_call":
        call = FunctionCallItem(item_id, index, str(item.get("call_id")), str(item["name"]))
        opened = [*call.open()]
        added = [*call.add(arguments)] if (arguments := str(item["arguments"])) else []
        return [*opened, *added, *call.close(status)], call.item()
    return [], None


def _delta(part: JsonObject) -> TextDelta | RefusalDelta:
    if part["type"] == "refusal":
        return RefusalDelta(str(part["refusal"]))
    return TextDelta(str(part.get("text")), cast("list[JsonValue]", part.get("logprobs") or []))
