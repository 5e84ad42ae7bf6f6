"""Calls of tools among the output items, and lists of tools: see ``output_items``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pydantic_core import from_json

from llama_conversations.services.responses.output_items import GrowingItem, TextPart
from llama_conversations.wire import events
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.items import Status


class GrowingCall(GrowingItem, Protocol):
    """A call of a tool, whoever runs it."""

    call_id: str
    name: str
    arguments: TextPart

    @abstractmethod
    def add(self, arguments: str) -> Iterator[Event]:
        """More of the arguments."""
        ...


@dataclass(slots=True)
class FunctionCallItem:
    """A call that the client runs; ``item`` shows ``call_id`` as the model server gave it."""

    item_id: str
    index: int
    call_id: str
    name: str
    arguments: TextPart = field(default_factory=TextPart)
    status: Status = "in_progress"

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())

    def add(self, arguments: str) -> Iterator[Event]:
        self.arguments.pieces.append(arguments)
        yield events.FunctionCallArgumentsDelta(self.item_id, self.index, arguments)

    def close(self, status: Status) -> Iterator[Event]:
        self.status = status
        yield events.FunctionCallArgumentsDone(self.item_id, self.index, self.name, self.arguments.text)
        yield events.OutputItemDone(self.index, self.item())

    def item(self) -> JsonObject:
        return {
            "id": self.item_id,
            "type": "function_call",
            "status": self.status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.arguments.text,
        }


@dataclass(slots=True)
class CustomCallItem:
    """A call of a custom tool, which the client runs. The model was offered a function with one argument, ``input``."""

    item_id: str
    index: int
    call_id: str
    name: str
    arguments: TextPart = field(default_factory=TextPart)
    status: Status = "in_progress"

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item() | {"input": ""})

    def add(self, arguments: str) -> Iterator[Event]:
        """The text is shown when it is whole: the pieces are pieces of JSON."""
        self.arguments.pieces.append(arguments)
        yield from ()

    def close(self, status: Status) -> Iterator[Event]:
        self.status = status
        text = self._input()
        if text:
            yield events.CustomToolCallInputDelta(self.item_id, self.index, text)
        yield events.CustomToolCallInputDone(self.item_id, self.index, text)
        yield events.OutputItemDone(self.index, self.item())

    def item(self) -> JsonObject:
        return {
            "id": self.item_id,
            "type": "custom_tool_call",
            "status": self.status,
            "call_id": self.call_id,
            "name": self.name,
            "input": self._input(),
        }

    def _input(self) -> str:
        """The argument, where the model kept to the form; otherwise what it wrote, as it is."""
        text = self.arguments.text
        try:
            found = from_json(text)
        except ValueError:
            return text
        value = found.get("input") if isinstance(found, dict) else None
        return value if isinstance(value, str) else text


@dataclass(slots=True)
class McpCallItem:
    """A call that the server runs; it ends when its tool has answered."""

    item_id: str
    index: int
    call_id: str
    name: str
    server_label: str = ""
    approval_request_id: str | None = None
    arguments: TextPart = field(default_factory=TextPart)
    status: str = "in_progress"
    output: str | None = None
    error: JsonObject | None = None

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())
        yield events.McpCallInProgress(self.item_id, self.index)

    def add(self, arguments: str) -> Iterator[Event]:
        self.arguments.pieces.append(arguments)
        yield events.McpCallArgumentsDelta(self.item_id, self.index, arguments)

    def close(self, status: Status) -> Iterator[Event]:
        yield events.McpCallArgumentsDone(self.item_id, self.index, self.arguments.text)
        if status == "incomplete":
            self.status = status
            yield events.McpCallFailed(self.item_id, self.index)
            yield events.OutputItemDone(self.index, self.item())

    def succeed(self, output: str) -> Iterator[Event]:
        """The tool has answered."""
        self.status, self.output = "completed", output
        yield events.McpCallCompleted(self.item_id, self.index)
        yield events.OutputItemDone(self.index, self.item())

    def fail(self, error: JsonObject) -> Iterator[Event]:
        """The tool, or its server, has failed; ``error`` as the API writes it."""
        self.status, self.error = "failed", error
        yield events.McpCallFailed(self.item_id, self.index)
        yield events.OutputItemDone(self.index, self.item())

    @property
    def waits(self) -> bool:
        """Whether its tool has yet to answer."""
        return self.status == "in_progress"

    def item(self) -> JsonObject:
        return {
            "id": self.item_id,
            "type": "mcp_call",
            "status": self.status,
            "approval_request_id": self.approval_request_id,
            "server_label": self.server_label,
            "name": self.name,
            "arguments": self.arguments.text,
            "output": self.output,
            "error": self.error,
        }


@dataclass(slots=True)
class ApprovalRequestItem:
    """A call that the server would run, if the client lets it."""

    item_id: str
    index: int
    call_id: str
    name: str
    server_label: str = ""
    arguments: TextPart = field(default_factory=TextPart)

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())

    def add(self, arguments: str) -> Iterator[Event]:
        self.arguments.pieces.append(arguments)
        yield from ()

    def close(self, _status: Status) -> Iterator[Event]:
        yield events.OutputItemDone(self.index, self.item())

    def item(self) -> JsonObject:
        return {
            "id": self.item_id,
            "type": "mcp_approval_request",
            "server_label": self.server_label,
            "name": self.name,
            "arguments": self.arguments.text,
        }


@dataclass(slots=True)
class ListToolsItem:
    """What an MCP server offers."""

    item_id: str
    index: int
    server_label: str
    tools: list[JsonValue] = field(default_factory=list)
    error: str | None = None

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())
        yield events.McpListToolsInProgress(self.item_id, self.index)

    def close(self, _status: Status) -> Iterator[Event]:
        if self.error is None:
            yield events.McpListToolsCompleted(self.item_id, self.index)
        else:
            yield events.McpListToolsFailed(self.item_id, self.index)
        yield events.OutputItemDone(self.index, self.item())

    def item(self) -> JsonObject:
        """As the hosted API shows it: what there is not stands nowhere. Clients refuse nulls here (@ai-sdk/openai)."""
        item: JsonObject = {"id": self.item_id, "type": "mcp_list_tools", "server_label": self.server_label}
        return item | {"tools": self.tools} | ({} if self.error is None else {"error": self.error})


CALLS = (FunctionCallItem, CustomCallItem, McpCallItem, ApprovalRequestItem)
"""Every kind of ``GrowingCall``."""
