"""What of a request this server does: the rest of the API is refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Collection

from llama_conversations.apis.inference import WireApi
from llama_conversations.errors import InvalidParameter, MutuallyExclusiveParameters, UnsupportedParameter
from llama_conversations.ids import CONVERSATION_PREFIX
from llama_conversations.services.searches import WebSearches
from llama_conversations.services.tools import ToolServers
from llama_conversations.wire.responses import CreateResponse, ReasoningOptions
from llama_conversations.wire.tools import (
    WEB_SEARCH_TYPES,
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
    WebSearchChoice,
    WebSearchTool,
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


def check_wire(request: CreateResponse, wire_api: WireApi, searches: WebSearches) -> None:
    """Refuse what neither this server nor the routed model's can do: chat completions know no tools but functions, and
    of reasoning the effort alone.

    Errors: ``UnsupportedParameter``, ``InvalidParameter``.
    """
    if searches.available:
        _check_searches(request, searches)
    if wire_api == "responses":
        return
    if request.reasoning is not None:
        _check_reasoning(request.reasoning)
    _check_tools_of_chat(request, searches)
    _check_choice_of_chat(request.tool_choice, searches)


def _check_tools_of_chat(request: CreateResponse, searches: WebSearches) -> None:
    for index, tool in enumerate(request.tools or ()):
        if isinstance(tool, OtherTool) or (isinstance(tool, WebSearchTool) and not searches.available):
            raise UnsupportedParameter(f"tools[{index}]", _why_not(tool.type))
        if isinstance(tool, CustomTool) and isinstance(tool.format, GrammarFormat):
            message = "Grammars of custom tools are not supported by this server."
            raise UnsupportedParameter(f"tools[{index}].format", message)


def _check_choice_of_chat(choice: ToolMode | ToolChoiceObject | None, searches: WebSearches) -> None:
    if isinstance(choice, OtherChoice) or (isinstance(choice, WebSearchChoice) and not searches.available):
        raise UnsupportedParameter("tool_choice", f"Tool choice '{choice.type}' is not supported by this server.")
    if isinstance(choice, AllowedTools):
        known = (*_NAMED, *WEB_SEARCH_TYPES) if searches.available else _NAMED
        for index, allowed in enumerate(choice.tools):
            if allowed.get("type") not in known:
                raise UnsupportedParameter(f"tool_choice.tools[{index}]")


def _check_reasoning(asked: ReasoningOptions) -> None:
    if asked.mode is not None:
        raise UnsupportedParameter("reasoning.mode")
    if asked.context not in (None, "auto"):
        raise UnsupportedParameter("reasoning.context")


def _why_not(tool_type: str) -> str:
    """Why a tool cannot be used, and what could be done about it."""
    refusal = f"Tools of type '{tool_type}' are not supported by this server"
    if tool_type in WEB_SEARCH_TYPES:
        return f"{refusal}: it has no web_search provider. Whoever runs it can add one under providers in run.yaml."
    if tool_type == "file_search":
        return f"{refusal}: it keeps no vector stores. Send the text as 'input_file', or search by a tool of your own."
    return f"{refusal}."


def _check_searches(request: CreateResponse, searches: WebSearches) -> None:
    found = [(index, tool) for index, tool in enumerate(request.tools or ()) if isinstance(tool, WebSearchTool)]
    for index, tool in found:
        searches.check(tool, f"tools[{index}]")
    if len(found) > 1:
        raise InvalidParameter("Two tools search the web.", param=f"tools[{found[1][0]}]")
    choice = request.tool_choice
    chosen = [choice.type] if isinstance(choice, WebSearchChoice) else []
    if isinstance(choice, AllowedTools):
        chosen = [kind for tool in choice.tools for kind in WEB_SEARCH_TYPES if tool.get("type") == kind]
    if chosen and not found:
        _check_named(chosen[0], ())


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


def _check_named(name: object, names: Collection[str]) -> None:
    if name not in names:
        raise InvalidParameter(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
