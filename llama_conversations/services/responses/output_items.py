"""Output items while they grow: each knows how it begins, what it gains, how it ends, and the events that show that.

What an item is in the end (``item``) is what its events add up to. Calls of tools are in ``output_calls``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from llama_conversations.services.responses.chat_deltas import RefusalDelta, TextDelta
from llama_conversations.wire import events
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.items import Status


class GrowingItem(Protocol):
    """What all of them have in common; ``index`` is the item's place in the output."""

    item_id: str
    index: int

    @abstractmethod
    def open(self) -> Iterator[Event]:
        """The item begins."""
        ...

    @abstractmethod
    def close(self, status: Status) -> Iterator[Event]:
        """The model will add no more to it."""
        ...

    @abstractmethod
    def item(self) -> JsonObject:
        """The item as it is now."""
        ...


@dataclass(slots=True)
class TextPart:
    """A content part that grows: answer, refusal or thoughts."""

    pieces: list[str] = field(default_factory=list)
    logprobs: list[JsonValue] = field(default_factory=list)
    annotations: list[JsonValue] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(slots=True)
class ReasoningItem:
    """What the model thinks; ``seal`` makes ``encrypted_content`` of it, where the caller asked for that."""

    item_id: str
    index: int
    as_summary: bool = False
    seal: Callable[[str], str] | None = None
    _sealed: str = ""
    part: TextPart = field(default_factory=TextPart)

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, {"id": self.item_id, "type": "reasoning", "summary": []})
        if self.as_summary:
            yield events.ReasoningSummaryPartAdded(self.item_id, self.index, 0, {"type": "summary_text", "text": ""})
        else:
            part: JsonObject = {"type": "reasoning_text", "text": ""}
            yield events.ContentPartAdded(self.item_id, self.index, 0, part)

    def add(self, text: str) -> Event:
        self.part.pieces.append(text)
        delta = events.ReasoningSummaryTextDelta if self.as_summary else events.ReasoningTextDelta
        return delta(self.item_id, self.index, 0, text)

    def close(self, _status: Status) -> Iterator[Event]:
        text = self.part.text
        if self.seal is not None:
            self._sealed = self.seal(text)  # once: no two seals of a text are alike
        if self.as_summary:
            yield events.ReasoningSummaryTextDone(self.item_id, self.index, 0, text)
            yield events.ReasoningSummaryPartDone(self.item_id, self.index, 0, {"type": "summary_text", "text": text})
        else:
            yield events.ReasoningTextDone(self.item_id, self.index, 0, text)
            part: JsonObject = {"type": "reasoning_text", "text": text}
            yield events.ContentPartDone(self.item_id, self.index, 0, part)
        yield events.OutputItemDone(self.index, self.item())

    def item(self) -> JsonObject:
        head: JsonObject = {"id": self.item_id, "type": "reasoning"}
        if self.seal is not None:
            head["encrypted_content"] = self._sealed
        if self.as_summary:
            return head | {"summary": [{"type": "summary_text", "text": self.part.text}]}
        return head | {"summary": [], "content": [{"type": "reasoning_text", "text": self.part.text}]}


def _cite_nothing(_text: str) -> Sequence[JsonObject]:
    return ()


@dataclass(slots=True)
class MessageItem:
    """An assistant's message: parts of text and refusal, in the order in which the model begins them.

    ``cite`` finds the annotations of a text, once that is whole.
    """

    item_id: str
    index: int
    cite: Callable[[str], Sequence[JsonObject]] = _cite_nothing
    parts: list[tuple[type[TextDelta | RefusalDelta], TextPart]] = field(default_factory=list)
    status: Status = "in_progress"

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())

    def add(self, delta: TextDelta | RefusalDelta) -> Iterator[Event]:
        if not self.parts or self.parts[-1][0] is not type(delta):
            yield from self._close_part()
            self.parts.append((type(delta), TextPart()))
            yield events.ContentPartAdded(self.item_id, self.index, self._last, self._part(self._last))
        part = self.parts[-1][1]
        if delta.text:
            part.pieces.append(delta.text)
            yield self._delta(delta)
        if isinstance(delta, TextDelta):
            part.logprobs.extend(delta.logprobs)

    def close(self, status: Status) -> Iterator[Event]:
        yield from self._close_part()
        self.status = status
        yield events.OutputItemDone(self.index, self.item())

    def item(self) -> JsonObject:
        return {
            "id": self.item_id,
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": [self._part(n) for n in range(len(self.parts))],
        }

    @property
    def _last(self) -> int:
        return len(self.parts) - 1

    def _delta(self, delta: TextDelta | RefusalDelta) -> Event:
        if isinstance(delta, TextDelta):
            return events.OutputTextDelta(self.item_id, self.index, self._last, delta.text, delta.logprobs)
        return events.RefusalDelta(self.item_id, self.index, self._last, delta.text)

    def _part(self, number: int) -> JsonObject:
        kind, part = self.parts[number]
        if kind is RefusalDelta:
            return {"type": "refusal", "refusal": part.text}
        return {
            "type": "output_text",
            "text": part.text,
            "annotations": list(part.annotations),
            "logprobs": list(part.logprobs),
        }

    def _close_part(self) -> Iterator[Event]:
        if not self.parts:
            return
        kind, part = self.parts[-1]
        if kind is RefusalDelta:
            yield events.RefusalDone(self.item_id, self.index, self._last, part.text)
        else:
            yield from self._annotate(part)
            yield events.OutputTextDone(self.item_id, self.index, self._last, part.text, part.logprobs)
        yield events.ContentPartDone(self.item_id, self.index, self._last, self._part(self._last))

    def _annotate(self, part: TextPart) -> Iterator[Event]:
        for number, annotation in enumerate(self.cite(part.text)):
            part.annotations.append(annotation)
            yield events.OutputTextAnnotationAdded(self.item_id, self.index, self._last, number, annotation)


_CLIENTS_CALLS = (
    "apply_patch_call",
    "computer_call",
    "custom_tool_call",
    "function_call",
    "local_shell_call",
    "mcp_approval_request",
)
"""Calls that only the client can answer, whatever made them; of others it depends."""


class PassedItem:
    """An item that an upstream made and shows by its own events; ``item_id`` stands in all of them."""

    __slots__ = ("content", "done", "index", "item_id")

    def __init__(self, item_id: str, index: int, content: JsonObject) -> None:
        self.item_id, self.index = item_id, index
        self.content = content | {"id": item_id}
        self.done = False

    @property
    def waits_for_client(self) -> bool:
        """Whether the model cannot go on before the client has answered it."""
        environment = self.content.get("environment")
        is_local = not isinstance(environment, dict) or environment.get("type") != "container_reference"
        kind = self.content["type"]
        return kind in _CLIENTS_CALLS or (kind == "shell_call" and is_local)

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.content)

    def show(self, event: JsonObject) -> Iterator[Event]:
        """An event of the upstream about this item."""
        shown = event | {"output_index": self.index}
        shown.pop("obfuscation", None)  # of the length that it had there
        if "item" not in event:
            shown["item_id"] = self.item_id
        if event["type"] == "response.output_item.done":
            self.content = cast("JsonObject", event["item"]) | {"id": self.item_id}
            shown["item"] = self.content
            self.done = True
        yield events.Forwarded(str(event["type"]), shown)

    def close(self, _status: Status) -> Iterator[Event]:
        """It is closed by an event of its own."""
        yield from ()

    def item(self) -> JsonObject:
        return self.content


@dataclass(slots=True)
class CompactionItem:
    """A context made small; only this server can read it."""

    item_id: str
    index: int
    encrypted_content: str

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())

    def close(self, _status: Status) -> Iterator[Event]:
        yield events.OutputItemDone(self.index, self.item())

    def item(self) -> JsonObject:
        return {"id": self.item_id, "type": "compaction", "encrypted_content": self.encrypted_content}
