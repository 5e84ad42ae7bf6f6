"""Events of a streamed response, in the order of the OpenAI API reference (Responses, streaming events).

They are dataclasses because orjson writes those without a step between. ``sequence_number`` is added as they are
written: an event does not know its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from llama_conversations.wire.base import JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ResponseEvent:
    """``response.created``, ``.in_progress``, ``.completed``, ``.incomplete`` or ``.failed``; ``body`` is JSON."""

    type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Something failed after the stream began; the failed response follows."""

    code: str | None
    message: str
    param: str | None = None
    type: str = "error"


@dataclass(frozen=True, slots=True)
class OutputItemAdded:
    """An output item begins."""

    output_index: int
    item: JsonObject
    type: str = "response.output_item.added"


@dataclass(frozen=True, slots=True)
class OutputItemDone:
    """An output item is whole."""

    output_index: int
    item: JsonObject
    type: str = "response.output_item.done"


@dataclass(frozen=True, slots=True)
class ContentPartAdded:
    """A content part begins."""

    item_id: str
    output_index: int
    content_index: int
    part: JsonObject
    type: str = "response.content_part.added"


@dataclass(frozen=True, slots=True)
class ContentPartDone:
    """A content part is whole."""

    item_id: str
    output_index: int
    content_index: int
    part: JsonObject
    type: str = "response.content_part.done"


@dataclass(frozen=True, slots=True)
class OutputTextDelta:
    """More of a message's text."""

    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: Sequence[JsonValue] = ()
    type: str = "response.output_text.delta"


@dataclass(frozen=True, slots=True)
class OutputTextAnnotationAdded:
    """What stands in a stretch of the text, such as a page that it cites."""

    item_id: str
    output_index: int
    content_index: int
    annotation_index: int
    annotation: JsonObject
    type: str = "response.output_text.annotation.added"


@dataclass(frozen=True, slots=True)
class OutputTextDone:
    """The text of a part, whole."""

    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: Sequence[JsonValue] = ()
    type: str = "response.output_text.done"


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of a refusal."""

    item_id: str
    output_index: int
    content_index: int
    delta: str
    type: str = "response.refusal.delta"


@dataclass(frozen=True, slots=True)
class RefusalDone:
    """A refusal, whole."""

    item_id: str
    output_index: int
    content_index: int
    refusal: str
    type: str = "response.refusal.done"


@dataclass(frozen=True, slots=True)
class ReasoningTextDelta:
    """More of the model's thoughts."""

    item_id: str
    output_index: int
    content_index: int
    delta: str
    type: str = "response.reasoning_text.delta"


@dataclass(frozen=True, slots=True)
class ReasoningTextDone:
    """The model's thoughts, whole."""

    item_id: str
    output_index: int
    content_index: int
    text: str
    type: str = "response.reasoning_text.done"


@dataclass(frozen=True, slots=True)
class ReasoningSummaryPartAdded:
    """A part of a reasoning summary begins."""

    item_id: str
    output_index: int
    summary_index: int
    part: JsonObject
    type: str = "response.reasoning_summary_part.added"


@dataclass(frozen=True, slots=True)
class ReasoningSummaryPartDone:
    """A part of a reasoning summary is whole."""

    item_id: str
    output_index: int
    summary_index: int
    part: JsonObject
    type: str = "response.reasoning_summary_part.done"


@dataclass(frozen=True, slots=True)
class ReasoningSummaryTextDelta:
    """More of a reasoning summary."""

    item_id: str
    output_index: int
    summary_index: int
    delta: str
    type: str = "response.reasoning_summary_text.delta"


@dataclass(frozen=True, slots=True)
class ReasoningSummaryTextDone:
    """The text of a summary part, whole."""

    item_id: str
    output_index: int
    summary_index: int
    text: str
    type: str = "response.reasoning_summary_text.done"


@dataclass(frozen=True, slots=True)
class FunctionCallArgumentsDelta:
    """More of a function call's arguments."""

    item_id: str
    output_index: int
    delta: str
    type: str = "response.function_call_arguments.delta"


@dataclass(frozen=True, slots=True)
class FunctionCallArgumentsDone:
    """A function call's arguments, whole."""

    item_id: str
    output_index: int
    name: str
    arguments: str
    type: str = "response.function_call_arguments.done"


@dataclass(frozen=True, slots=True)
class CustomToolCallInputDelta:
    """More of a custom tool call's text."""

    item_id: str
    output_index: int
    delta: str
    type: str = "response.custom_tool_call_input.delta"


@dataclass(frozen=True, slots=True)
class CustomToolCallInputDone:
    """A custom tool call's text, whole."""

    item_id: str
    output_index: int
    input: str
    type: str = "response.custom_tool_call_input.done"


@dataclass(frozen=True, slots=True)
class McpCallInProgress:
    """A call of an MCP tool begins."""

    item_id: str
    output_index: int
    type: str = "response.mcp_call.in_progress"


@dataclass(frozen=True, slots=True)
class McpCallArgumentsDelta:
    """More of an MCP call's arguments."""

    item_id: str
    output_index: int
    delta: str
    type: str = "response.mcp_call_arguments.delta"


@dataclass(frozen=True, slots=True)
class McpCallArgumentsDone:
    """An MCP call's arguments, whole."""

    item_id: str
    output_index: int
    arguments: str
    type: str = "response.mcp_call_arguments.done"


@dataclass(frozen=True, slots=True)
class McpCallCompleted:
    """An MCP tool has answered."""

    item_id: str
    output_index: int
    type: str = "response.mcp_call.completed"


@dataclass(frozen=True, slots=True)
class McpCallFailed:
    """An MCP tool, or its server, has failed."""

    item_id: str
    output_index: int
    type: str = "response.mcp_call.failed"


@dataclass(frozen=True, slots=True)
class McpListToolsInProgress:
    """An MCP server is asked for its tools."""

    item_id: str
    output_index: int
    type: str = "response.mcp_list_tools.in_progress"


@dataclass(frozen=True, slots=True)
class McpListToolsCompleted:
    """An MCP server has listed its tools."""

    item_id: str
    output_index: int
    type: str = "response.mcp_list_tools.completed"


@dataclass(frozen=True, slots=True)
class McpListToolsFailed:
    """An MCP server could not list its tools."""

    item_id: str
    output_index: int
    type: str = "response.mcp_list_tools.failed"


@dataclass(frozen=True, slots=True)
class WebSearchCallInProgress:
    """A search of the web begins."""

    item_id: str
    output_index: int
    type: str = "response.web_search_call.in_progress"


@dataclass(frozen=True, slots=True)
class WebSearchCallSearching:
    """It is known what is searched for."""

    item_id: str
    output_index: int
    type: str = "response.web_search_call.searching"


@dataclass(frozen=True, slots=True)
class WebSearchCallCompleted:
    """The search has brought its results."""

    item_id: str
    output_index: int
    type: str = "response.web_search_call.completed"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """An event that an upstream wrote; its ``sequence_number`` is replaced."""

    type: str
    payload: JsonObject


Event: TypeAlias = (
    ResponseEvent
    | ErrorEvent
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextAnnotationAdded
    | OutputTextDone
    | RefusalDelta
    | RefusalDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | ReasoningSummaryPartAdded
    | ReasoningSummaryPartDone
    | ReasoningSummaryTextDelta
    | ReasoningSummaryTextDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | CustomToolCallInputDelta
    | CustomToolCallInputDone
    | McpCallInProgress
    | McpCallArgumentsDelta
    | McpCallArgumentsDone
    | McpCallCompleted
    | McpCallFailed
    | McpListToolsInProgress
    | McpListToolsCompleted
    | McpListToolsFailed
    | WebSearchCallInProgress
    | WebSearchCallSearching
    | WebSearchCallCompleted
    | Forwarded
)


@dataclass(slots=True)
class EventWriter:
    """Numbers events and writes each as a server-sent event.

    Args:
        next_number: Of the next event.
        padding: From a delta's length to the ``obfuscation`` that is sent with it; none is sent without.
    """

    next_number: int = 0
    padding: Callable[[int], str] | None = None

    def frame(self, event: Event) -> bytes:
        """The event as ``event:`` and ``data:`` lines with the blank line behind them."""
        return b"event: %b\ndata: %b\n\n" % (event.type.encode(), self.data(event))

    def data(self, event: Event) -> bytes:
        """The event as JSON, with the next number."""
        number, self.next_number = self.next_number, self.next_number + 1
        if isinstance(event, ResponseEvent):
            data = b'{"type":"%b","response":%b' % (event.type.encode(), event.body)
        elif isinstance(event, Forwarded):
            data = orjson.dumps({key: value for key, value in event.payload.items() if key != "sequence_number"})[:-1]
            data += self._obfuscation(event.payload.get("delta"))
        else:
            data = orjson.dumps(event)[:-1] + self._obfuscation(getattr(event, "delta", None))
        return b'%b,"sequence_number":%d}' % (data, number)

    def _obfuscation(self, delta: object) -> bytes:
        if self.padding is None or not isinstance(delta, str):
            return b""
        return b',"obfuscation":"%b"' % self.padding(len(delta)).encode()
