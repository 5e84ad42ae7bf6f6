"""From a model's deltas to output items and their events: a state machine over what is open.

At any moment at most one of reasoning and message is open; tool calls stay open together until the model stops, since a
server may interleave their arguments. A call is shown once its name is known. What is shown in events is what ``items``
holds in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from llama_conversations.errors import UpstreamGarbled
from llama_conversations.ids import MAX_ID_LENGTH, new_call_id, new_id
from llama_conversations.services.items import id_prefix
from llama_conversations.services.responses.chat_deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from llama_conversations.wire import events
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.items import Status
from llama_conversations.wire.responses import Usage


@dataclass(slots=True)
class _Text:
    """A content part that grows: answer, refusal or thoughts."""

    pieces: list[str] = field(default_factory=list)
    logprobs: list[JsonValue] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(slots=True)
class _Reasoning:
    item_id: str
    index: int
    as_summary: bool
    part: _Text = field(default_factory=_Text)

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
        if self.as_summary:
            return head | {"summary": [{"type": "summary_text", "text": self.part.text}]}
        return head | {"summary": [], "content": [{"type": "reasoning_text", "text": self.part.text}]}


@dataclass(slots=True)
class _Message:
    """An assistant's message: parts of text and refusal, in the order in which the model begins them."""

    item_id: str
    index: int
    parts: list[tuple[type[TextDelta | RefusalDelta], _Text]] = field(default_factory=list)
    status: Status = "in_progress"

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())

    def add(self, delta: TextDelta | RefusalDelta) -> Iterator[Event]:
        if not self.parts or self.parts[-1][0] is not type(delta):
            yield from self._close_part()
            self.parts.append((type(delta), _Text()))
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
        return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": list(part.logprobs)}

    def _close_part(self) -> Iterator[Event]:
        if not self.parts:
            return
        kind, part = self.parts[-1]
        if kind is RefusalDelta:
            yield events.RefusalDone(self.item_id, self.index, self._last, part.text)
        else:
            yield events.OutputTextDone(self.item_id, self.index, self._last, part.text, part.logprobs)
        yield events.ContentPartDone(self.item_id, self.index, self._last, self._part(self._last))


@dataclass(slots=True)
class _FunctionCall:
    """A call; ``given_id`` is the model server's id of it, as far as it had one when the call was first shown."""

    item_id: str
    index: int
    call_id: str
    name: str
    given_id: str | None
    arguments: _Text = field(default_factory=_Text)
    status: Status = "in_progress"

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())

    def add(self, arguments: str) -> Event:
        self.arguments.pieces.append(arguments)
        return events.FunctionCallArgumentsDelta(self.item_id, self.index, arguments)

    def close(self, status: Status) -> Iterator[Event]:
        self.status = status
        yield events.FunctionCallArgumentsDone(self.item_id, self.index, self.name, self.arguments.text)
        yield events.OutputItemDone(self.index, self.item())

    def is_another(self, delta: ToolCallDelta) -> bool:
        """Whether a delta of the same index begins another call: some servers give every call the index 0."""
        if delta.name is None:
            return False
        if self.given_id is None:  # an id, or the name again, may just come late: before any arguments
            return delta.name != self.name or (delta.call_id is not None and bool(self.arguments.pieces))
        return delta.call_id is not None and delta.call_id != self.given_id

    def item(self) -> JsonObject:
        return {
            "id": self.item_id,
            "type": "function_call",
            "status": self.status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.arguments.text,
        }


_Item = _Reasoning | _Message | _FunctionCall


class Output:
    """The output of one turn.

    Args:
        partition: What the items' ids begin with.
        provider_id: Whose model it is.
        reasoning_as_summary: Show thoughts as a summary (the caller asked for one) instead of as reasoning text.
    """

    def __init__(self, partition: str, provider_id: str, *, reasoning_as_summary: bool) -> None:
        self._partition, self._provider_id, self._as_summary = partition, provider_id, reasoning_as_summary
        self._items: list[_Item] = []
        self._open: _Reasoning | _Message | None = None
        self._calls: dict[int, _FunctionCall] = {}
        self._nameless: dict[int, ToolCallDelta] = {}
        self.usage: Usage | None = None
        self.finished = Finished("stop")

    @property
    def items(self) -> Sequence[JsonObject]:
        """The items as they are now."""
        return [item.item() for item in self._items]

    def add(self, delta: Delta) -> Iterator[Event]:
        """Take a delta; the events that show it."""
        if isinstance(delta, TextDelta | RefusalDelta):
            yield from self._add_to_message(delta)
        elif isinstance(delta, ReasoningDelta):
            yield from self._add_to_reasoning(delta.text)
        elif isinstance(delta, ToolCallDelta):
            yield from self._add_to_call(delta)
        elif isinstance(delta, Finished):
            self.finished = delta
        else:
            self.usage = delta

    def close(self) -> Iterator[Event]:
        """The model has stopped: close what is open. Without any output there is one empty message.

        Errors: ``UpstreamGarbled`` for a call that was never named, unless the model was cut off.
        """
        if self._nameless and self.finished.reason == "stop":
            raise UpstreamGarbled(self._provider_id, "The model server's answer has a tool call without a name.")
        if not self._items:
            yield from self._add_to_message(TextDelta(""))
        status: Status = "completed" if self.finished.reason == "stop" else "incomplete"
        cut_off = self._items[-1]
        still_open = [*self._calls.values(), *([] if self._open is None else [self._open])]
        for item in sorted(still_open, key=lambda item: item.index):
            yield from item.close(status if item is cut_off else "completed")
        self._open = None
        self._calls.clear()

    def _add_to_message(self, delta: TextDelta | RefusalDelta) -> Iterator[Event]:
        if not isinstance(self._open, _Message):
            yield from self._close_open()
            self._open = _Message(self._new_id("message"), len(self._items))
            self._items.append(self._open)
            yield from self._open.open()
        yield from self._open.add(delta)

    def _add_to_reasoning(self, text: str) -> Iterator[Event]:
        if not isinstance(self._open, _Reasoning):
            yield from self._close_open()
            self._open = _Reasoning(self._new_id("reasoning"), len(self._items), self._as_summary)
            self._items.append(self._open)
            yield from self._open.open()
        yield self._open.add(text)

    def _add_to_call(self, delta: ToolCallDelta) -> Iterator[Event]:
        call = self._calls.get(delta.index)
        if call is None or call.is_another(delta):
            delta = self._with_what_came_before(delta)
            if delta.name is None:
                self._nameless[delta.index] = delta
                return
            yield from self._close_open()
            if call is not None:
                yield from call.close("completed")
            call = self._new_call(delta, delta.name)
            yield from call.open()
        if delta.arguments:
            yield call.add(delta.arguments)

    def _with_what_came_before(self, delta: ToolCallDelta) -> ToolCallDelta:
        before = self._nameless.pop(delta.index, None)
        if before is None:
            return delta
        arguments = before.arguments + delta.arguments
        return replace(delta, call_id=before.call_id or delta.call_id, arguments=arguments)

    def _new_call(self, delta: ToolCallDelta, name: str) -> _FunctionCall:
        taken = {item.call_id for item in self._items if isinstance(item, _FunctionCall)}
        call_id = delta.call_id
        if call_id is None or call_id in taken or len(call_id) > MAX_ID_LENGTH:
            call_id = new_call_id()  # an output must be able to name its call, and no other
        call = _FunctionCall(self._new_id("function_call"), len(self._items), call_id, name, delta.call_id)
        self._calls[delta.index] = call
        self._items.append(call)
        return call

    def _close_open(self) -> Iterator[Event]:
        if self._open is not None:
            yield from self._open.close("completed")
            self._open = None

    def _new_id(self, item_type: str) -> str:
        return new_id(id_prefix(item_type), self._partition)
