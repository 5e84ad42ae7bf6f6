"""From a model's deltas to output items and their events: a state machine over what is open.

At any moment at most one item is open (``call_order`` sees to that). A call is shown once its name is known, since the
name tells whose it is. What is shown in events is what ``items`` holds in the end. An output may grow over several
rounds of the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from pydantic_core import ValidationError

from llama_conversations.errors import UpstreamGarbled
from llama_conversations.ids import MAX_ID_LENGTH, new_call_id, new_id
from llama_conversations.services.items import id_prefix
from llama_conversations.services.responses.call_order import CallOrder, is_whole
from llama_conversations.services.responses.chat_deltas import (
    Delta,
    Finished,
    PassedEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from llama_conversations.services.responses.output_calls import CALLS, FunctionCallItem, GrowingCall, McpCallItem
from llama_conversations.services.responses.output_items import GrowingItem, MessageItem, PassedItem, ReasoningItem
from llama_conversations.services.responses.web_search_item import WebSearchItem
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.items import INPUT_ITEM, ITEM_TYPES, Status
from llama_conversations.wire.responses import InputTokensDetails, OutputTokensDetails, Usage

I = TypeVar("I", bound=GrowingItem)  # noqa: E741

_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_ID_LENGTH}}}")

ServerCall: TypeAlias = McpCallItem | WebSearchItem
"""A call that this server runs."""


class Place:
    """Where a call stands in the output, and how the model named it: what a call item is made from."""

    __slots__ = ("call_id", "index", "name", "new_id")

    def __init__(self, index: int, call_id: str, name: str, new_id: Callable[[str], str]) -> None:
        self.index, self.call_id, self.name, self.new_id = index, call_id, name, new_id


def client_function(place: Place) -> FunctionCallItem:
    """A call of a function that the client runs."""
    return FunctionCallItem(place.new_id("function_call"), place.index, place.call_id, place.name)


@dataclass(frozen=True, slots=True)
class ItemMakers:
    """How what the model writes becomes items: calls from the name that it calls, others from their id and place."""

    call: Callable[[Place], GrowingCall] = client_function
    reasoning: Callable[[str, int], ReasoningItem] = ReasoningItem
    message: Callable[[str, int], MessageItem] = MessageItem


_PLAIN = ItemMakers()


class Output:
    """The output of one turn.

    Args:
        partition: What the items' ids begin with.
        provider_id: Whose model it is.
        make: Makes the items.
        taken_call_ids: The ids of the calls of the context; some models give the same ones again and again.
        taken_ids: The ids of the items of the context, which an upstream's own ids must not repeat.
    """

    def __init__(
        self,
        partition: str,
        provider_id: str,
        make: ItemMakers = _PLAIN,
        taken_call_ids: Iterable[str] = (),
        taken_ids: Iterable[str] = (),
    ) -> None:
        self._partition, self._provider_id = partition, provider_id
        self._make = make
        self._items: list[GrowingItem] = []
        self._open: ReasoningItem | MessageItem | None = None
        self._call: GrowingCall | None = None
        self._order = CallOrder(provider_id)
        self._taken_call_ids = set(taken_call_ids)
        self._taken_ids = set(taken_ids)
        self._passed: dict[int, PassedItem] = {}
        self._round_began_at = 0
        self.usage: Usage | None = None
        self.finished = Finished("stop")

    @property
    def items(self) -> Sequence[JsonObject]:
        """The items as they are now."""
        return [item.item() for item in self._items]

    @property
    def told(self) -> Sequence[JsonObject]:
        """The items as the model is told of them when it speaks again: what searches found is not always shown."""
        return [item.told() if isinstance(item, WebSearchItem) else item.item() for item in self._items]

    @property
    def waiting_calls(self) -> Sequence[ServerCall]:
        """Calls that the model has made whole, for the server to run."""
        return [item for item in self._items if isinstance(item, ServerCall) and item.waits]

    @property
    def waits_for_client(self) -> bool:
        """Whether the last round made a call that is not the server's to run."""
        this_round = self._items[self._round_began_at :]
        return any(
            item.waits_for_client
            if isinstance(item, PassedItem)
            else isinstance(item, CALLS) and not isinstance(item, McpCallItem)
            for item in this_round
        )

    def append(self, make: Callable[[str, int], I], item_type: str) -> I:
        """Add an item that no model wrote; ``make`` is given its id and its place."""
        item = make(self._new_id(item_type), len(self._items))
        self._items.append(item)
        return item

    def begin_round(self) -> None:
        """The model is asked (again)."""
        self._round_began_at = len(self._items)
        self._passed.clear()
        self._order = CallOrder(self._provider_id)
        self.finished = Finished("stop")

    def add(self, delta: Delta) -> Iterator[Event]:
        """Take a delta; the events that are shown for it. Errors: ``UpstreamGarbled``."""
        for ordered in self._order.add(delta):
            yield from self._show(ordered)

    def add_usage(self, usage: Usage) -> None:
        """What was spent besides."""
        self.usage = usage if self.usage is None else _sum(self.usage, usage)

    def end_round(self) -> Iterator[Event]:
        """The model has stopped: close what is open. If it said nothing at all, there is one empty message.

        Errors: ``UpstreamGarbled`` for a call that was never named, unless the model was cut off.
        """
        cut_off = self.finished.reason != "stop"
        for delta in self._order.close(cut_off=cut_off):
            yield from self._show(delta)
        if len(self._items) == self._round_began_at:
            yield from self._add_to_message(TextDelta(""))
        yield from self._close_open("incomplete" if cut_off else "completed")

    def _show(self, delta: Delta) -> Iterator[Event]:
        if isinstance(delta, TextDelta | RefusalDelta):
            yield from self._add_to_message(delta)
        elif isinstance(delta, ReasoningDelta):
            yield from self._add_to_reasoning(delta.text)
        elif isinstance(delta, ToolCallDelta):
            yield from self._add_to_call(delta)
        elif isinstance(delta, Finished):
            self.finished = delta
        elif isinstance(delta, PassedEvent):
            yield from self._pass(delta.payload)
        else:
            self.add_usage(delta)

    def _pass(self, event: JsonObject) -> Iterator[Event]:
        """Show an event of an upstream that speaks the Responses API, under this output's numbers.

        Errors: ``UpstreamGarbled`` for an item that could not be read again in the next turn.
        """
        index = cast("int", event["output_index"])
        if event["type"] == "response.output_item.added":
            yield from self._close_open()
            content = cast("JsonObject", event["item"])
            item = PassedItem(self._kept_id(content), len(self._items), content)
            self._items.append(item)
            self._passed[index] = item
            yield from item.open()
        elif index in self._passed and not self._passed[index].done:
            yield from self._passed[index].show(event)
            if self._passed[index].done:
                self._check_item(self._passed[index].content)

    def _kept_id(self, content: JsonObject) -> str:
        """The id that an upstream gave, if it can be one here; else a new one."""
        item_type, given = str(content["type"]), content.get("id")
        if item_type not in ITEM_TYPES or not ITEM_TYPES[item_type].storable:
            message = f"The model server made an item of type '{item_type}', which this server does not know."
            raise UpstreamGarbled(self._provider_id, message)
        if not isinstance(given, str) or given in self._taken_ids or not _ID.fullmatch(given):
            return self._new_id(item_type)
        if not given.startswith(id_prefix(item_type)):
            return self._new_id(item_type)
        self._taken_ids.add(given)
        return given

    def _check_item(self, content: JsonObject) -> None:
        try:
            INPUT_ITEM.validate_python(content)
        except ValidationError as error:
            message = f"The model server made a malformed item of type '{content['type']}'."
            raise UpstreamGarbled(self._provider_id, message) from error

    def _add_to_message(self, delta: TextDelta | RefusalDelta) -> Iterator[Event]:
        if not isinstance(self._open, MessageItem):
            yield from self._close_open()
            self._open = self.append(self._make.message, "message")
            yield from self._open.open()
        yield from self._open.add(delta)

    def _add_to_reasoning(self, text: str) -> Iterator[Event]:
        if not isinstance(self._open, ReasoningItem):
            yield from self._close_open()
            self._open = self.append(self._make.reasoning, "reasoning")
            yield from self._open.open()
        yield self._open.add(text)

    def _add_to_call(self, delta: ToolCallDelta) -> Iterator[Event]:
        if delta.name is not None:
            yield from self._begin_call(delta.name, delta.call_id)
        if self._call is not None and delta.arguments:
            yield from self._call.add(delta.arguments)

    def _begin_call(self, name: str, call_id: str | None) -> Iterator[Event]:
        yield from self._close_open()
        if call_id is None or call_id in self._taken_call_ids or len(call_id) > MAX_ID_LENGTH:
            call_id = new_call_id()  # an output must be able to name its call, and no other
        self._taken_call_ids.add(call_id)
        self._call = self._make.call(Place(len(self._items), call_id, name, self._new_id))
        self._items.append(self._call)
        yield from self._call.open()

    def _close_open(self, status: Status = "completed") -> Iterator[Event]:
        """Of calls that came side by side, several may have been cut off."""
        if self._open is not None:
            yield from self._open.close(status)
        if self._call is not None:
            broken_off = self.finished.reason != "stop" and not is_whole(self._call.arguments.text)
            yield from self._call.close("incomplete" if broken_off else status)
        self._open = self._call = None

    def _new_id(self, item_type: str) -> str:
        return new_id(id_prefix(item_type), self._partition)


def _sum(a: Usage, b: Usage) -> Usage:
    """What two rounds cost together."""
    read, written = a.input_tokens_details, a.output_tokens_details
    return Usage(
        input_tokens=a.input_tokens + b.input_tokens,
        input_tokens_details=InputTokensDetails(
            cached_tokens=read.cached_tokens + b.input_tokens_details.cached_tokens,
            cache_write_tokens=read.cache_write_tokens + b.input_tokens_details.cache_write_tokens,
        ),
        output_tokens=a.output_tokens + b.output_tokens,
        output_tokens_details=OutputTokensDetails(
            reasoning_tokens=written.reasoning_tokens + b.output_tokens_details.reasoning_tokens
        ),
        total_tokens=a.total_tokens + b.total_tokens,
    )
