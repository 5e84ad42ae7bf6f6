"""What of a request this server does: the rest of the API is refused by name, never ignored."""

from __future__ import annotations

from llama_conversations.apis.inference import WireApi
from llama_conversations.errors import InvalidParameter, MutuallyExclusiveParameters, UnsupportedParameter
from llama_conversations.ids import CONVERSATION_PREFIX
from llama_conversations.services.tools import ToolServers
from llama_conversations.wire.responses import CreateResponse, ReasoningOptions
from llama_conversations.wire.tools import (
    AllowedTools,
    CustomChoice,
    CustomTool,
    FunctionChoice,
    FunctionTool,
    GrammarFormat,
    McpChoice,
    McpServerTool,
    OtherChoice,
    OtherTool,
    ToolChoiceObject,
    ToolMode,
)

_NAMED = ("function", "custom", "mcp")
"""Kinds of tools that a choice gives the name of."""


def check_request(request: CreateResponse, servers: ToolServers) -> None:
    """Refuse what cannot be served, before anything is looked up.

    Errors: ``UnsupportedParameter``, ``MutuallyExclusiveParameters``, ``InvalidParameter``.
    """
    if request.moderation is not None:
        raise UnsupportedParameter("moderation")
    _check_tools(request, servers)
    conversation_id = request.conversation_id
    if conversation_id is not None:
        if request.previous_response_id is not None:
            raise MutuallyExclusiveParameters("previous_response_id", "conversation")
        if not conversation_id.startswith(CONVERSATION_PREFIX):
            raise InvalidParameter(
                f"Invalid 'conversation': '{conversation_id}'. Expected an ID that begins with 'conv'.",
                param="conversation",
            )
    if request.stream_options is not None and not request.stream:
        raise InvalidParameter("'stream_options' is only allowed with 'stream': true.", param="stream_options")
    if not (request.input or conversation_id or request.previous_response_id or request.prompt):
        raise InvalidParameter(
            "Missing required parameter: 'input' may only be empty together with 'previous_response_id', "
            "'conversation' or 'prompt'.",
            param="input",
            code="missing_required_parameter",
        )


def check_wire(request: CreateResponse, wire_api: WireApi) -> None:
    """Refuse what the routed model's server cannot be told: chat completions know no tools but functions, and of
    reasoning the effort alone.

    Errors: ``UnsupportedParameter``.
    """
    if wire_api == "responses":
        return
    if request.reasoning is not None:
        _check_reasoning(request.reasoning)
    for index, tool in enumerate(request.tools or ()):
        if isinstance(tool, OtherTool):
            message = f"Tools of type '{tool.type}' are not supported by this server."
            raise UnsupportedParameter(f"tools[{index}]", message)
        if isinstance(tool, CustomTool) and isinstance(tool.format, GrammarFormat):
            message = "Grammars of custom tools are not supported by this server."
            raise UnsupportedParameter(f"tools[{index}].format", message)
    choice = request.tool_choice
    if isinstance(choice, OtherChoice):
        raise UnsupportedParameter("tool_choice", f"Tool choice '{choice.type}' is not supported by this server.")
    if isinstance(choice, AllowedTools):
        for index, allowed in enumerate(choice.tools):
            if allowed.get("type") not in _NAMED:
                raise UnsupportedParameter(f"tool_choice.tools[{index}]")


def _check_reasoning(asked: ReasoningOptions) -> None:
    if asked.mode is not None:
        raise UnsupportedParameter("reasoning.mode")
    if asked.context not in (None, "auto"):
        raise UnsupportedParameter("reasoning.context")


def _check_tools(request: CreateResponse, servers: ToolServers) -> None:
    names: set[str] = set()
    labels: set[str] = set()
    for index, tool in enumerate(request.tools or ()):
        param = f"tools[{index}]"
        if isinstance(tool, McpServerTool):
            servers.check(tool, param)
            _check_distinct(tool.server_label, labels, f"{param}.server_label")
        elif isinstance(tool, FunctionTool | CustomTool):
            _check_distinct(tool.name, names, f"{param}.name")
    if request.tool_choice == "required" and not request.tools:
        raise InvalidParameter("Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice")
    _check_choice(request.tool_choice, names, labels)


def _check_distinct(name: str, seen: set[str], param: str) -> None:
    if name in seen:
        raise InvalidParameter(f"Two tools have the name '{name}'.", param=param)
    seen.add(name)


def _check_choice(choice: ToolMode | ToolChoiceObject | None, names: set[str], labels: set[str]) -> None:
    if isinstance(choice, FunctionChoice | CustomChoice):
        _check_named(choice.name, names)
    elif isinstance(choice, McpChoice):
        _check_named(choice.server_label, labels)
    elif isinstance(choice, AllowedTools):
        for allowed in choice.tools:
            kind = allowed.get("type")
            if kind in _NAMED:
                chosen = (allowed.get("server_label"), labels) if kind == "mcp" else (allowed.get("name"), names)
                _check_named(*chosen)


def _check_named(name: object, names: set[str]) -> None:
    if name not in names:
        raise InvalidParameter(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
