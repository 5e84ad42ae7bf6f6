"""What of a request this server does: the rest of the API is refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from llama_conversations.errors import InvalidParameter, MutuallyExclusiveParameters, UnsupportedParameter
from llama_conversations.ids import CONVERSATION_PREFIX
from llama_conversations.wire.responses import CreateResponse
from llama_conversations.wire.tools import AllowedTools, FunctionChoice, FunctionTool, ToolChoiceObject, ToolMode


def check_request(request: CreateResponse) -> None:
    """Refuse what cannot be served, before anything is looked up.

    Errors: ``UnsupportedParameter``, ``MutuallyExclusiveParameters``, ``InvalidParameter``.
    """
    for param in _unsupported(request):
        raise UnsupportedParameter(param)
    _check_tools(request)
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
    if not request.input and conversation_id is None and request.previous_response_id is None:
        raise InvalidParameter(
            "Missing required parameter: 'input' may only be empty together with 'previous_response_id' or "
            "'conversation'.",
            param="input",
            code="missing_required_parameter",
        )


def _unsupported(request: CreateResponse) -> Iterator[str]:
    if request.background:
        yield "background"
    if request.truncation == "auto":
        yield "truncation"
    if request.prompt is not None:
        yield "prompt"
    if request.context_management is not None:
        yield "context_management"
    if request.moderation is not None:
        yield "moderation"
    if request.reasoning is not None and request.reasoning.mode is not None:
        yield "reasoning.mode"
    if request.reasoning is not None and request.reasoning.context not in (None, "auto"):
        yield "reasoning.context"
    if request.stream_options is not None and request.stream_options.include_obfuscation:
        yield "stream_options.include_obfuscation"


def _check_tools(request: CreateResponse) -> None:
    names: set[str] = set()
    for index, tool in enumerate(request.tools or ()):
        if not isinstance(tool, FunctionTool):
            raise UnsupportedParameter(
                f"tools[{index}]", f"Tools of type '{tool.type}' are not supported by this server."
            )
        if tool.name in names:
            raise InvalidParameter(f"Two tools have the name '{tool.name}'.", param=f"tools[{index}].name")
        names.add(tool.name)
    _check_choice(request.tool_choice, names)


def _check_choice(choice: ToolMode | ToolChoiceObject | None, names: set[str]) -> None:
    if choice is None or choice in ("none", "auto"):
        return
    if choice == "required" and not names:
        raise InvalidParameter("Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice")
    if isinstance(choice, FunctionChoice):
        _check_named(choice.name, names)
    elif isinstance(choice, AllowedTools):
        for index, allowed in enumerate(choice.tools):
            if allowed.get("type") != "function":
                raise UnsupportedParameter(f"tool_choice.tools[{index}]")
            _check_named(allowed.get("name"), names)
    elif not isinstance(choice, str):
        raise UnsupportedParameter("tool_choice", f"Tool choice '{choice.type}' is not supported by this server.")


def _check_named(name: object, names: set[str]) -> None:
    if name not in names:
        raise InvalidParameter(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
