"""Calls that the client answers, and the answers: functions, custom tools, tool search, MCP, programs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from llama_conversations.wire.base import OpenModel
from llama_conversations.wire.content import LongText, ToolOutput
from llama_conversations.wire.items.base import Caller, CallId, Item, KnownItem, Status
from llama_conversations.wire.unions import Array, ByKey

__all__ = [
    "AdditionalTools",
    "CustomToolCall",
    "CustomToolCallOutput",
    "FunctionCall",
    "FunctionCallOutput",
    "McpApprovalRequest",
    "McpApprovalResponse",
    "McpCall",
    "McpListTools",
    "McpTool",
    "Program",
    "ProgramOutput",
    "ToolSearchCall",
    "ToolSearchOutput",
]


class FunctionCall(Item):
    """The model calls a function; ``arguments`` is JSON as the model wrote it, valid or not."""

    type: Literal["function_call"]
    status: Status | None = None
    call_id: str
    name: str
    arguments: str
    namespace: str | None = None
    caller: Caller | None = None


class FunctionCallOutput(Item):
    """What the function answered."""

    type: Literal["function_call_output"]
    status: Status | None = None
    call_id: CallId
    output: ToolOutput
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")] | None = None
    caller: Caller | None = None


class CustomToolCall(Item):
    """The model calls a tool with free text."""

    type: Literal["custom_tool_call"]
    status: Status | None = None
    call_id: str
    name: str
    input: str
    namespace: str | None = None
    caller: Caller | None = None


class CustomToolCallOutput(Item):
    """What the custom tool answered."""

    type: Literal["custom_tool_call_output"]
    status: Status | None = None
    call_id: str
    output: ToolOutput
    caller: Caller | None = None


class ToolSearchCall(Item):
    """The model looks for tools that were held back."""

    type: Literal["tool_search_call"]
    status: Status | None = None
    call_id: CallId | None = None
    execution: Literal["server", "client"] = "client"
    arguments: object


class ToolSearchOutput(Item):
    """The tools that were found."""

    type: Literal["tool_search_output"]
    status: Status | None = None
    call_id: CallId | None = None
    execution: Literal["server", "client"] = "client"
    tools: Array[dict[str, object]]


class AdditionalTools(Item):
    """Tools that the developer adds from here on."""

    type: Literal["additional_tools"]
    role: Literal["developer"]
    tools: Array[dict[str, object]]


class McpTool(OpenModel):
    """One tool of an MCP server."""

    name: str
    input_schema: dict[str, object]
    description: str | None = None
    annotations: dict[str, object] | None = None


class McpListTools(KnownItem):
    """What an MCP server offers."""

    type: Literal["mcp_list_tools"]
    server_label: str
    tools: Array[McpTool]
    error: str | None = None


class McpApprovalRequest(KnownItem):
    """The model asks for leave to call an MCP tool."""

    type: Literal["mcp_approval_request"]
    server_label: str
    name: str
    arguments: str


class McpApprovalResponse(Item):
    """Leave given or refused."""

    type: Literal["mcp_approval_response"]
    approval_request_id: str
    approve: bool
    reason: str | None = None


class McpProtocolError(OpenModel):
    """The MCP server broke the protocol, or said so of us."""

    type: Literal["mcp_protocol_error"]
    code: int
    message: str


class McpToolExecutionError(OpenModel):
    """The tool ran and failed."""

    type: Literal["mcp_tool_execution_error"]
    content: object


class McpHttpError(OpenModel):
    """The MCP server answered with an HTTP error."""

    type: Literal["http_error"]
    code: int
    message: str


class McpCall(KnownItem):
    """A call of an MCP tool, with its outcome once there is one."""

    type: Literal["mcp_call"]
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] | None = None
    server_label: str
    name: str
    arguments: str
    approval_request_id: str | None = None
    output: str | None = None
    error: Annotated[McpProtocolError | McpToolExecutionError | McpHttpError, ByKey("type")] | None = None


class Program(KnownItem):
    """A program that the model wrote to call tools."""

    type: Literal["program"]
    call_id: CallId
    code: LongText
    fingerprint: LongText


class ProgramOutput(KnownItem):
    """What the program returned."""

    type: Literal["program_output"]
    status: Literal["completed", "incomplete"]
    call_id: CallId
    result: LongText
