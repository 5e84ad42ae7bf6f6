"""What every stream of response events must be, whatever the model said: one validator for all tests that see a stream.

It knows messages, reasoning, and calls of functions, of custom tools and of MCP tools, requests for approval, lists of
tools, compactions and searches of the web. Every item is empty when it is added (a compaction is whole, a search has
nothing that grows), grows by deltas that add up, and is done once. The model writes one item at a time; an MCP call
stays open, with its arguments done, until its tool has answered, and so do others beside it, and searches that are
under way.

Source: OpenAI API reference, Responses, streaming events; orders as observed live.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

TERMINAL = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
BEGINNING = {"response.created", "response.queued", "response.in_progress"}

_CHANGES = {"status", "completed_at", "error", "incomplete_details", "usage", "output"}
"""What of a response may differ between its first event and its last."""

_USAGE = {"input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"}

JsonObject = dict[str, Any]


def read_frames(data: bytes) -> list[JsonObject]:
    """The events of a whole body of server-sent events; its framing is checked, comments are left out."""
    assert not data or data.endswith(b"\n\n"), "the body ends within an event"
    return [event for block in data.split(b"\n\n")[:-1] if (event := _read_block(block.decode())) is not None]


def _read_block(block: str) -> JsonObject | None:
    lines = [line for line in block.split("\n") if not line.startswith(":")]
    if not lines:
        return None
    names = [line.partition(": ")[0] for line in lines]
    assert names == ["event", "data"], f"an event has the lines {names}"
    event: JsonObject = json.loads(lines[1].removeprefix("data: "))
    assert lines[0] == f"event: {event['type']}", f"{lines[0]} carries {event['type']}"
    return event


def check_stream(events: Sequence[JsonObject], *, begun_anew: bool = False) -> JsonObject:
    """Check a stream from its first event to its last. Answers with the terminal event's response.

    Args:
        begun_anew: Whether an earlier run of it was given up: then its events' numbers are left out.
    """
    types = [event["type"] for event in events]
    numbers = [event["sequence_number"] for event in events]
    given_up = numbers[2] - 2 if begun_anew and types[1] == "response.queued" else 0
    assert (given_up > 0) == begun_anew, f"an earlier run had {given_up} events"
    expected = [n if n < 2 else n + given_up for n in range(len(events))]
    assert numbers == expected, f"sequence numbers are not 0, 1, 2…: {numbers}"
    assert types[:2] == ["response.created", "response.in_progress"] or types[:3] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ], f"it begins with {types[:3]}"
    terminal = [place for place, kind in enumerate(types) if kind in TERMINAL]
    assert terminal == [len(events) - 1], f"terminal events at {terminal} of {len(events)}"
    begun = types.index("response.in_progress") + 1
    output = StreamedOutput()
    for event in events[begun:-1]:
        output.take(event)
    response: JsonObject = events[-1]["response"]
    for event in events[:begun]:
        _check_begun(event, response)
    output.check_end(events[-1])
    _check_terminal(events[-1]["type"], response)
    return response


def _check_begun(event: JsonObject, final: JsonObject) -> None:
    response = event["response"]
    status = "queued" if event["type"] == "response.queued" else response["status"]
    assert response["status"] == status
    assert status in ("queued", "in_progress")
    assert response["output"] == []
    unset = {name for name in ("usage", "error", "incomplete_details", "completed_at") if response[name] is not None}
    assert not unset, f"{unset} are set before the end"
    assert response.keys() == final.keys()
    changed = {name for name, value in response.items() if final[name] != value} - _CHANGES
    assert not changed, f"{changed} changed on the way"


def _check_terminal(kind: str, response: JsonObject) -> None:
    status = response["status"]
    assert status == TERMINAL[kind] or (kind, status) == ("response.failed", "cancelled")
    assert (response["completed_at"] is not None) == (status == "completed")
    assert (response["error"] is not None) == (status == "failed")
    assert (response["incomplete_details"] is not None) == (status == "incomplete")
    if response["error"] is not None:
        assert response["error"].keys() == {"code", "message"}
        assert response["error"]["message"]
    if response["usage"] is not None:
        assert response["usage"].keys() == _USAGE


@dataclass
class _Part:
    """One growing part of an item: text, refusal, thoughts, a summary, or a call's arguments."""

    kind: str
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)
    text_done: bool = False
    shown: JsonObject | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def open(self) -> bool:
        return self.shown is None


@dataclass
class _Item:
    added: JsonObject
    parts: list[_Part] = field(default_factory=list)
    summaries: list[_Part] = field(default_factory=list)
    arguments: _Part | None = None
    stages: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    images: int = 0
    done: JsonObject | None = None

    @property
    def kind(self) -> str:
        return str(self.added["type"])

    @property
    def is_being_written(self) -> bool:
        waits_for_tool = self.kind == "mcp_call" and self.arguments is not None and self.arguments.text_done
        return self.done is None and not waits_for_tool and "searching" not in self.stages


_TEXT_OF = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}
_STAGES = {
    "web_search_call": ("in_progress", "searching", "completed"),
    "file_search_call": ("in_progress", "searching", "completed", "failed"),
    "code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "image_generation_call": ("in_progress", "generating", "completed"),
}
"""Of what a hosted tool does, in this order; a search of the web that fails has no event that says so."""

_MEMBERS = {"message": {"output_text", "refusal"}, "reasoning": {"reasoning_text"}}
_EMPTY = {
    "message": "content",
    "reasoning": "summary",
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "mcp_approval_request": "arguments",
    "mcp_list_tools": "tools",
}
"""What of an item grows."""

_STATUSES = {"message": {"completed", "incomplete"}, "mcp_call": {"completed", "incomplete", "failed"}}
_STATUSES |= {kind: {"completed", "failed"} for kind in _STAGES}
_STATUSES |= dict.fromkeys(("function_call", "custom_tool_call"), _STATUSES["message"])
"""How an item with a status may end; the others have none."""

_WRITTEN = {"function_call", "custom_tool_call", "mcp_call"}
"""Calls whose arguments are streamed."""

_FIXED = {
    "function_call": ("name", "call_id"),
    "custom_tool_call": ("name", "call_id"),
    "mcp_call": ("name", "server_label", "approval_request_id"),
    "mcp_approval_request": ("name", "server_label"),
    "mcp_list_tools": ("server_label",),
    "compaction": ("encrypted_content",),
    "message": ("role",),
    "web_search_call": (),
    "file_search_call": (),
    "code_interpreter_call": ("container_id",),
    "image_generation_call": (),
}
"""What of an item is known from the beginning."""


class StreamedOutput:
    """The output items of a stream, as its events build them up; every event is held against what went before."""

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._failed = False
        self._handlers: dict[str, Callable[[JsonObject], None]] = {
            "error": self._error,
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.added": self._part_added,
            "response.content_part.done": self._part_done,
            "response.reasoning_summary_part.added": self._part_added,
            "response.reasoning_summary_part.done": self._part_done,
            "response.output_text.annotation.added": self._annotation_added,
            "response.code_interpreter_call_code.delta": self._code_delta,
            "response.code_interpreter_call_code.done": self._code_done,
            "response.image_generation_call.partial_image": self._partial_image,
        }
        for hosted, stages in _STAGES.items():
            self._handlers |= {f"response.{hosted}.{stage}": self._hosted_stage for stage in stages}
        for kind in ("function_call_arguments", "custom_tool_call_input", "mcp_call_arguments"):
            self._handlers[f"response.{kind}.delta"] = self._arguments_delta
            self._handlers[f"response.{kind}.done"] = self._arguments_done
        for kind in ("mcp_call", "mcp_list_tools"):
            for stage in ("in_progress", "completed", "failed"):
                self._handlers[f"response.{kind}.{stage}"] = self._stage
        for kind in ("output_text", "refusal", "reasoning_text", "reasoning_summary_text"):
            self._handlers[f"response.{kind}.delta"] = self._text_delta
            self._handlers[f"response.{kind}.done"] = self._text_done

    def take(self, event: JsonObject) -> None:
        """Take an event between the beginning and the end."""
        assert not self._failed, f"{event['type']} comes behind an error"
        handler = self._handlers.get(event["type"])
        assert handler is not None, f"unknown event {event['type']}"
        handler(event)

    def check_end(self, event: JsonObject) -> None:
        """Hold the terminal event against what was streamed."""
        response = event["response"]
        if response["status"] in ("failed", "cancelled"):
            assert response["output"] == []
            return
        assert not self._failed, "an error is followed by a response that did not fail"
        assert all(item.done is not None for item in self._items), "an item was never done"
        assert [item.done for item in self._items] == response["output"], "the output is not what was shown"
        written = [
            item for item in response["output"] if item["type"] in ("message", "function_call", "custom_tool_call")
        ]
        statuses = [item["status"] for item in written]
        allowed = {"completed"} if response["status"] == "completed" else {"completed", "incomplete"}
        assert set(statuses) <= allowed, f"items of a {response['status']} response are {statuses}"
        spoken = [item["status"] for item in written if item["type"] == "message"]
        assert spoken.count("incomplete") <= 1, "the model was cut off in several messages at once"

    def _error(self, event: JsonObject) -> None:
        assert event.keys() == {"type", "sequence_number", "code", "message", "param"}
        assert event["message"]
        self._failed = True

    def _item_added(self, event: JsonObject) -> None:
        item = event["item"]
        assert event["output_index"] == len(self._items), "items are added out of order"
        assert item["id"] not in [known.added["id"] for known in self._items], "two items have one id"
        assert not [known.added for known in self._items if known.is_being_written], (
            "the model writes two items at once"
        )
        kind = item["type"]
        assert kind in _FIXED or kind in _EMPTY, f"an item of unknown type {kind}"
        assert kind not in _EMPTY or not item[_EMPTY[kind]], "an item is not empty when it is added"
        assert item.get("status") == ("in_progress" if kind in _STATUSES else None)
        assert kind != "reasoning" or "content" not in item
        if "call_id" in item:
            assert item["call_id"] not in [known.added.get("call_id") for known in self._items]
        self._items.append(_Item(item, arguments=_Part("arguments") if kind in _WRITTEN else None))

    def _item_done(self, event: JsonObject) -> None:
        item, shown = self._at(event["output_index"]), event["item"]
        kind = item.kind
        for name in ("id", "type", *_FIXED.get(kind, ())):
            assert shown[name] == item.added[name], f"'{name}' of an item changed on the way"
        assert not [part for part in (*item.parts, *item.summaries) if part.open], "an item is done, its part is not"
        if item.arguments is not None:
            assert item.arguments.text_done, "the arguments are not done"
            assert shown[_EMPTY[kind]] == item.arguments.text
            assert shown["name"]
        elif kind == "message":
            assert shown["content"] == [part.shown for part in item.parts]
            assert shown["role"] == "assistant"
        elif kind == "reasoning":
            assert shown.get("content", []) == [part.shown for part in item.parts]
            assert shown["summary"] == [part.shown for part in item.summaries]
        if kind in _STATUSES:
            assert shown["status"] in _STATUSES[kind]
        else:
            assert "status" not in shown
        if kind == "web_search_call":
            stages = _STAGES[kind]
            reached = (stages,) if shown["status"] == "completed" else (stages[:1], stages[:2])
            assert tuple(item.stages) in reached, item.stages
            assert shown["action"]["type"] in ("search", "open_page", "find_in_page")
        elif kind in _STAGES:
            assert item.stages[-1] == shown["status"], item.stages
        if item.code:
            assert shown["code"] == "".join(item.code)
        if kind in ("mcp_call", "mcp_list_tools"):
            _check_tool_server_item(item.stages, shown)
        item.done = shown

    def _part_added(self, event: JsonObject) -> None:
        item, (parts, index) = self._of(event), self._parts(event)
        kind = event["part"]["type"]
        assert index == len(parts), "parts are added out of order"
        assert not [part for part in parts if part.open], "two parts of an item are open"
        assert event["part"][_TEXT_OF[kind]] == "", "a part is not empty when it is added"
        if parts is item.parts:
            assert kind in _MEMBERS[item.kind], f"a {item.kind} has a part {kind}"
        else:
            assert kind == "summary_text"
        parts.append(_Part(kind))

    def _part_done(self, event: JsonObject) -> None:
        part, shown = self._part(event), event["part"]
        assert part.text_done, "a part is done before its text"
        assert shown["type"] == part.kind
        assert shown[_TEXT_OF[part.kind]] == part.text, "deltas do not add up"
        if part.kind == "output_text":
            assert shown["logprobs"] == part.logprobs
            assert shown["annotations"] == part.annotations
        part.shown = shown

    def _text_delta(self, event: JsonObject) -> None:
        part = self._part(event)
        assert event["delta"], "an empty delta"
        assert _kind_of(event) == part.kind
        assert not part.text_done, "a delta behind the whole text"
        part.pieces.append(event["delta"])
        part.logprobs.extend(event.get("logprobs", ()))

    def _text_done(self, event: JsonObject) -> None:
        part = self._part(event)
        assert _kind_of(event) == part.kind
        assert not part.text_done, "a text is done twice"
        assert event[_TEXT_OF[part.kind]] == part.text, "deltas do not add up"
        assert event.get("logprobs", []) == part.logprobs
        for cited in part.annotations:
            assert 0 <= cited["start_index"] < cited["end_index"] <= len(part.text), "it cites what is not in the text"
        part.text_done = True

    def _arguments_delta(self, event: JsonObject) -> None:
        arguments = self._arguments(event)
        assert event["delta"], "an empty delta"
        arguments.pieces.append(event["delta"])

    def _arguments_done(self, event: JsonObject) -> None:
        item, arguments = self._of(event), self._arguments(event)
        assert event[_EMPTY[item.kind]] == arguments.text, "deltas do not add up"
        if item.kind == "function_call":
            assert event["name"] == item.added["name"]
        arguments.text_done = True

    def _stage(self, event: JsonObject) -> None:
        _, kind, stage = event["type"].split(".")
        item = self._of(event)
        assert kind == item.kind
        item.stages.append(stage)

    def _annotation_added(self, event: JsonObject) -> None:
        part = self._part(event)
        assert part.kind == "output_text"
        assert not part.text_done, "an annotation behind the whole text"
        assert event["annotation_index"] == len(part.annotations), "annotations are added out of order"
        part.annotations.append(event["annotation"])

    def _hosted_stage(self, event: JsonObject) -> None:
        item, (_, kind, stage) = self._of(event), event["type"].split(".")
        assert item.kind == kind
        order = _STAGES[kind]
        assert order.index(stage) > max(map(order.index, item.stages), default=-1), "a hosted tool goes back"
        item.stages.append(stage)

    def _code_delta(self, event: JsonObject) -> None:
        self._of(event).code.append(event["delta"])

    def _code_done(self, event: JsonObject) -> None:
        assert event["code"] == "".join(self._of(event).code), "deltas do not add up"

    def _partial_image(self, event: JsonObject) -> None:
        item = self._of(event)
        assert event["partial_image_index"] == item.images, "partial images come out of order"
        assert event["partial_image_b64"]
        item.images += 1

    def _arguments(self, event: JsonObject) -> _Part:
        item = self._of(event)
        arguments = item.arguments
        assert arguments is not None, "arguments of what is no call"
        assert event["type"].split(".")[1] == f"{item.kind}_{_EMPTY[item.kind]}"
        assert not arguments.text_done, "the arguments were done"
        return arguments

    def _at(self, index: int) -> _Item:
        assert index < len(self._items), "an event of an item that was not added"
        item = self._items[index]
        assert item.done is None, "an event of an item that is done"
        return item

    def _of(self, event: JsonObject) -> _Item:
        item = self._at(event["output_index"])
        assert event["item_id"] == item.added["id"]
        return item

    def _parts(self, event: JsonObject) -> tuple[list[_Part], int]:
        item = self._of(event)
        return (
            (item.summaries, event["summary_index"])
            if "summary_index" in event
            else (
                item.parts,
                event["content_index"],
            )
        )

    def _part(self, event: JsonObject) -> _Part:
        parts, index = self._parts(event)
        assert index < len(parts), "an event of a part that was not added"
        assert parts[index].open, "an event of a part that is done"
        return parts[index]


def _check_tool_server_item(stages: Sequence[str], shown: JsonObject) -> None:
    """A call or a list of tools: it was begun, then it succeeded or failed, and says so itself."""
    failed = shown.get("error") is not None or shown.get("status") == "incomplete"
    assert stages == ["in_progress", "failed" if failed else "completed"], stages
    if shown["type"] == "mcp_call":
        assert (shown["output"] is not None) == (shown["status"] == "completed")
        assert (shown["error"] is not None) == (shown["status"] == "failed")


def _kind_of(event: JsonObject) -> str:
    """The type of part that a delta or a text belongs to."""
    kind: str = event["type"].split(".")[1]
    return "summary_text" if kind == "reasoning_summary_text" else kind


def of_type(events: Sequence[JsonObject], kind: str) -> Iterator[JsonObject]:
    """The events of a type, in order."""
    return (event for event in events if event["type"] == kind)
