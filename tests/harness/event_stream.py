"""The one validator of a response's events: what every stream must be, whatever the model says.

What holds for every stream (OpenAI API reference, Responses, streaming events):

- Each frame is ``event: <type>``, ``data: <one line of JSON>`` and a blank line; between frames only comments may stand.
  Nothing follows the terminal event, no ``[DONE]`` either.
- ``sequence_number`` counts from 0 without a gap; an event has the keys of its type and no others.
- ``response.created`` comes first, then ``response.in_progress``, both with the same response: in progress, empty, without
  usage. Neither comes again.
- Each item is added once, in progress and empty, before anything else is said of it, and is done once, after which nothing
  is. ``output_index`` counts the items in the order in which they are added, and stays with its item.
- Parts of an item (content parts; parts of a summary) are added empty, one after the other, counted from 0, and done; the
  next one is added when the one before is done. Deltas are not empty and go to the part that is open.
- Deltas add up to the text in ``….done``, that is the text of the part that is done, and the parts that are done are those
  of the item that is done. The same holds for arguments and for log probabilities.
- Exactly one terminal event ends the stream: ``response.completed``, ``.incomplete`` or ``.failed``. Its response says the
  same status, and is but for that, output, usage, error and times what the first event showed.
- Completed or incomplete: every item is done, and ``output`` is the items that were done. Of an incomplete response the
  last item alone may be incomplete.
- Failed: exactly one ``error`` event stands right before the terminal one and says what ``response.error`` says; ``output``
  is empty and items may be left open. Otherwise there is no ``error`` event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

TERMINAL = ("response.completed", "response.incomplete", "response.failed")

_RESPONSE = {"response"}
_ITEM = {"output_index", "item"}
_ARGUMENTS = {"item_id", "output_index"}
_PART = {"item_id", "output_index", "content_index"}
_SUMMARY = {"item_id", "output_index", "summary_index"}

KEYS: Mapping[str, set[str]] = {
    "response.created": _RESPONSE,
    "response.in_progress": _RESPONSE,
    "response.completed": _RESPONSE,
    "response.incomplete": _RESPONSE,
    "response.failed": _RESPONSE,
    "error": {"code", "message", "param"},
    "response.output_item.added": _ITEM,
    "response.output_item.done": _ITEM,
    "response.content_part.added": _PART | {"part"},
    "response.content_part.done": _PART | {"part"},
    "response.output_text.delta": _PART | {"delta", "logprobs"},
    "response.output_text.done": _PART | {"text", "logprobs"},
    "response.refusal.delta": _PART | {"delta"},
    "response.refusal.done": _PART | {"refusal"},
    "response.reasoning_text.delta": _PART | {"delta"},
    "response.reasoning_text.done": _PART | {"text"},
    "response.reasoning_summary_part.added": _SUMMARY | {"part"},
    "response.reasoning_summary_part.done": _SUMMARY | {"part"},
    "response.reasoning_summary_text.delta": _SUMMARY | {"delta"},
    "response.reasoning_summary_text.done": _SUMMARY | {"text"},
    "response.function_call_arguments.delta": _ARGUMENTS | {"delta"},
    "response.function_call_arguments.done": _ARGUMENTS | {"arguments", "name"},
}
"""The keys of each event beside ``type`` and ``sequence_number``."""

CHANGING = {"status", "output", "usage", "error", "incomplete_details", "completed_at"}
"""Keys of a response that the turn changes."""


@dataclass(frozen=True)
class _PartKind:
    """A kind of part: the key of its text, where it stands in its item, and how events count such parts."""

    text: str
    item_type: str
    list_key: str
    index: str


_KINDS: Mapping[str, _PartKind] = {
    "output_text": _PartKind("text", "message", "content", "content_index"),
    "refusal": _PartKind("refusal", "message", "content", "content_index"),
    "reasoning_text": _PartKind("text", "reasoning", "content", "content_index"),
    "summary_text": _PartKind("text", "reasoning", "summary", "summary_index"),
}

_TEXT_EVENTS: Mapping[str, str] = {
    "response.output_text": "output_text",
    "response.refusal": "refusal",
    "response.reasoning_text": "reasoning_text",
    "response.reasoning_summary_text": "summary_text",
}


def read_frames(body: bytes) -> list[JsonObject]:
    """The events in the bytes of a stream, after looking at how each is framed."""
    events = []
    rest = body.decode()
    while rest:
        frame, end, rest = rest.partition("\n\n")
        assert end, f"the stream ends within a frame: {frame!r}"
        if frame.startswith(":"):
            continue
        name, data = frame.split("\n")
        assert name.startswith("event: "), frame
        assert data.startswith("data: {"), frame
        event = json.loads(data.removeprefix("data: "))
        assert event["type"] == name.removeprefix("event: "), frame
        events.append(event)
    return events


def check_stream(events: Sequence[JsonObject]) -> JsonObject:
    """The terminal response of a whole stream that is as this module says."""
    for number, event in enumerate(events):
        assert event["sequence_number"] == number, (number, event)
        assert event.keys() - {"type", "sequence_number"} == KEYS[event["type"]], event
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    terminal = events[-1]
    assert terminal["type"] in TERMINAL, terminal
    _check_begun(events[0]["response"])
    assert events[1]["response"] == events[0]["response"]
    _check_same_response(events[0]["response"], terminal)
    response: JsonObject = terminal["response"]
    middle = events[2:-1]
    if response["status"] == "failed":
        assert middle, "a failed stream tells an error"
        _check_error(middle[-1], response)
        middle = middle[:-1]
    output = OutputCheck()
    for event in middle:
        output.take(event)
    if response["status"] == "failed":
        assert response["output"] == []
    else:
        output.check_whole(response["output"], incomplete=response["status"] == "incomplete")
    return response


def _check_begun(response: JsonObject) -> None:
    begun = {"status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    assert {key: response[key] for key in begun} == begun
    assert response["completed_at"] is None


def _check_same_response(begun: JsonObject, terminal: JsonObject) -> None:
    response = terminal["response"]
    assert terminal["type"] == f"response.{response['status']}"
    assert response.keys() == begun.keys()
    changed = {key for key in begun if response[key] != begun[key]}
    assert changed <= CHANGING, changed
    assert (response["completed_at"] is not None) == (response["status"] == "completed")
    assert (response["error"] is not None) == (response["status"] == "failed")
    assert (response["incomplete_details"] is not None) == (response["status"] == "incomplete")


def _check_error(event: JsonObject, response: JsonObject) -> None:
    assert event["type"] == "error", event
    assert {key: event[key] for key in ("code", "message")} == response["error"]


@dataclass
class _OpenPart:
    """A part that was added: what it is, and what the deltas said."""

    kind: str
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    said: bool = False
    """Whether its text was told as a whole."""


@dataclass
class _OpenItem:
    """An item that was added: what is known of it by its events."""

    item: JsonObject
    index: int
    open: _OpenPart | None = None
    parts: list[JsonObject] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    arguments_said: bool = False


class OutputCheck:
    """Takes the events between ``response.in_progress`` and the terminal one."""

    def __init__(self) -> None:
        self._items: dict[str, _OpenItem] = {}
        self._added = 0
        self.done: dict[int, JsonObject] = {}
        self._takers: Mapping[str, Callable[[JsonObject], None]] = {
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.added": self._part_added,
            "response.content_part.done": self._part_done,
            "response.reasoning_summary_part.added": self._part_added,
            "response.reasoning_summary_part.done": self._part_done,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.function_call_arguments.done": self._arguments_done,
        }

    def take(self, event: JsonObject) -> None:
        """Look at the next event."""
        kind = event["type"]
        if kind in self._takers:
            self._takers[kind](event)
            return
        subject, _, what = kind.rpartition(".")
        assert subject in _TEXT_EVENTS, f"{kind} has no place here"
        part = self._open_part(event, _TEXT_EVENTS[subject])
        assert not part.said, event
        if what == "delta":
            assert event["delta"], "an empty delta"
            part.pieces.append(event["delta"])
            part.logprobs += event.get("logprobs", ())
        else:
            assert event[_KINDS[part.kind].text] == "".join(part.pieces), event
            assert event.get("logprobs", []) == part.logprobs
            part.said = True

    def check_whole(self, output: Sequence[JsonObject], *, incomplete: bool) -> None:
        """Nothing is left open, and a response's output is what was told."""
        assert not self._items, f"not done: {list(self._items)}"
        assert [self.done[index] for index in range(self._added)] == list(output)
        statuses = [item.get("status", "completed") for item in output]
        assert statuses[:-1] == ["completed"] * (len(output) - 1)
        assert statuses[-1:] == ["completed"] or (incomplete and statuses[-1:] == ["incomplete"]), statuses

    def _item_added(self, event: JsonObject) -> None:
        item = event["item"]
        assert event["output_index"] == self._added, event
        assert item["id"] not in {*self._items, *(done["id"] for done in self.done.values())}
        assert item.get("status", "in_progress") == "in_progress", item
        empty = {"message": {"content": []}, "reasoning": {"summary": []}, "function_call": {"arguments": ""}}
        expected = empty[item["type"]]
        assert {key: item[key] for key in expected} == expected
        assert "content" not in item or item["content"] == []
        self._items[item["id"]] = _OpenItem(item, self._added)
        self._added += 1

    def _item_done(self, event: JsonObject) -> None:
        item = event["item"]
        known = self._items.pop(item["id"])
        assert event["output_index"] == known.index
        assert known.open is None, "a part is still open"
        growing = {"content", "summary", "arguments", "status"}
        assert {k: v for k, v in item.items() if k not in growing} == {
            k: v for k, v in known.item.items() if k not in growing
        }
        assert item.get("status", "completed") in {"completed", "incomplete"}
        if item["type"] == "function_call":
            assert known.arguments_said, "the arguments were not told as a whole"
            assert item["arguments"] == "".join(known.arguments)
        else:
            assert (
                [*item["summary"], *item.get("content", ())] == known.parts
                if item["type"] == "reasoning"
                else (item["content"] == known.parts)
            )
        self.done[known.index] = item

    def _item(self, event: JsonObject) -> _OpenItem:
        known = self._items[event["item_id"]]
        assert event["output_index"] == known.index, event
        return known

    def _part_added(self, event: JsonObject) -> None:
        known, part = self._item(event), event["part"]
        kind = _KINDS[part["type"]]
        assert known.open is None, "the part before is still open"
        assert known.item["type"] == kind.item_type, event
        assert event[kind.index] == len(known.parts), event
        assert part[kind.text] == "", part
        if part["type"] == "output_text":
            assert (part["annotations"], part["logprobs"]) == ([], [])
        known.open = _OpenPart(part["type"])

    def _part_done(self, event: JsonObject) -> None:
        part = self._open_part(event, event["part"]["type"])
        assert part.said, "its text was not told as a whole"
        assert event["part"][_KINDS[part.kind].text] == "".join(part.pieces)
        assert event["part"].get("logprobs", []) == part.logprobs
        known = self._item(event)
        known.parts.append(event["part"])
        known.open = None

    def _open_part(self, event: JsonObject, kind: str) -> _OpenPart:
        known = self._item(event)
        assert known.open is not None, f"no part is open for {event}"
        assert known.open.kind == kind, event
        assert event[_KINDS[kind].index] == len(known.parts), event
        return known.open

    def _arguments_delta(self, event: JsonObject) -> None:
        known = self._call(event)
        assert event["delta"], "an empty delta"
        known.arguments.append(event["delta"])

    def _arguments_done(self, event: JsonObject) -> None:
        known = self._call(event)
        assert event["arguments"] == "".join(known.arguments)
        assert event["name"] == known.item["name"]
        known.arguments_said = True

    def _call(self, event: JsonObject) -> _OpenItem:
        known = self._item(event)
        assert known.item["type"] == "function_call", event
        assert not known.arguments_said, event
        return known
