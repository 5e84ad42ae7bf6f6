"""The response object at any moment of a turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import from_json, to_json

from llama_conversations.services.responses.turn import Turn
from llama_conversations.storage.records import MICROSECONDS, ResponseRecord, ResponseStatus, join_response, now_us
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.responses import (
    CreateResponse,
    IncompleteDetails,
    ResponseError,
    Usage,
)
from llama_conversations.wire.tools import FunctionTool, McpServerTool, Tool, ToolMode


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a turn has come; what is terminal is what is stored.

    Attributes:
        output: The output items, each as JSON text.
    """

    status: ResponseStatus
    output: Sequence[str] = ()
    usage: Usage | None = None
    error: ResponseError | None = None
    incomplete: IncompleteDetails | None = None

    @property
    def output_text(self) -> str:
        """The output as a JSON array."""
        return f"[{','.join(self.output)}]"


IN_PROGRESS = Outcome("in_progress")
QUEUED = Outcome("queued")


def response_head(turn: Turn, outcome: Outcome) -> str:
    """The response object without its output, as JSON text: that of a ``ResponseHead``, written without one.

    A turn writes two, and the model would cost most of it; a test compares the two.
    """
    request = turn.request
    head: dict[str, object] = {
        "id": turn.response_id,
        "object": "response",
        "created_at": turn.created_at // MICROSECONDS,
        "status": outcome.status,
        "completed_at": now_us() // MICROSECONDS if outcome.status == "completed" else None,
        "background": bool(request.background),
        "error": outcome.error,
        "incomplete_details": outcome.incomplete,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "model": turn.model.model_id,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "conversation": None if turn.conversation_id is None else {"id": turn.conversation_id},
        "reasoning": _reasoning(request),
        "prompt": None if request.prompt is None else request.prompt.model_dump(exclude_unset=True),
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "prompt_cache_options": request.prompt_cache_options,
        "service_tier": request.service_tier or "default",
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "top_logprobs": request.top_logprobs or 0,
        "presence_penalty": request.presence_penalty or 0.0,
        "frequency_penalty": request.frequency_penalty or 0.0,
        "text": _text(request),
        "tool_choice": _tool_choice(request),
        "tools": [_shown(tool) for tool in request.tools or ()],
        "truncation": request.truncation or "disabled",
        "usage": outcome.usage,
        "user": request.user,
        "metadata": request.metadata or {},
    }
    for name in _ABSENT:
        if head[name] is None:
            del head[name]
    return to_json(head).decode()


_ABSENT = ("conversation", "prompt", "prompt_cache_options", "user")
"""What has no null."""


def response_body(head: str, outcome: Outcome) -> bytes:
    """The whole response object, as it is served."""
    return join_response(head, outcome.output_text).encode()


def new_response(turn: Turn, outcome: Outcome, head: str) -> ResponseRecord:
    """The response of a turn that has not ended, as it is stored.

    What it continues, where nobody but a connection has that, becomes its own input: it must stand by itself.

    Args:
        head: As ``response_head`` writes it for the same outcome.
    """
    stand_in, previous = turn.remembered, turn.request.previous_response_id
    items = turn.input if stand_in is None else [*stand_in, *turn.input]
    return ResponseRecord(
        id=turn.response_id,
        created_at=turn.created_at,
        status=outcome.status,
        model=turn.model.model_id,
        conversation_id=turn.conversation_id,
        previous_response_id=previous if stand_in is None else None,
        context_position=None,
        input=f"[{','.join(item.data for item in items)}]",
        head=head,
        output=outcome.output_text,
    )


def terminal_event(status: ResponseStatus) -> str:
    """The type of the event that ends a stream; a cancelled response ends as a failed one does (observed)."""
    return f"response.{status}" if status in ("completed", "incomplete") else "response.failed"


def failed_head(head: str, error: ResponseError) -> str:
    """The head of a response in progress, made that of a failed one."""
    fields: JsonObject = from_json(head)
    return to_json(fields | {"status": "failed", "error": error.model_dump()}).decode()


def head_with_status(head: str, status: ResponseStatus) -> str:
    """The head of a response that waits, made that of a cancelled one, or of one that has begun."""
    fields: JsonObject = from_json(head)
    return to_json(fields | {"status": status}).decode()


def _reasoning(request: CreateResponse) -> JsonObject:
    asked = request.reasoning
    if asked is None:
        return {"effort": None, "summary": None}
    return {"effort": asked.effort, "summary": asked.summary or asked.generate_summary}


def _text(request: CreateResponse) -> JsonObject:
    asked = request.text
    shown: dict[str, JsonValue] = {"type": "text"}
    if asked is not None and asked.format is not None:
        shown = asked.format.model_dump(by_alias=True, exclude_unset=True)
    return {"format": shown, "verbosity": (asked.verbosity if asked is not None else None) or "medium"}


def _tool_choice(request: CreateResponse) -> ToolMode | dict[str, JsonValue]:
    choice = request.tool_choice
    if choice is None:
        return "auto"
    return choice if isinstance(choice, str) else choice.model_dump(exclude_unset=True)


def _shown(tool: Tool) -> dict[str, JsonValue]:
    """A tool as it is echoed: a function with all its keys, a tool server without its secrets."""
    given: dict[str, JsonValue] = tool.model_dump(exclude_unset=True)
    if isinstance(tool, FunctionTool):
        return {"type": "function", "description": None, "parameters": None, "strict": False} | given
    if isinstance(tool, McpServerTool):
        given.pop("authorization", None)
        if tool.headers:
            given["headers"] = dict.fromkeys(tool.headers, "<redacted>")
    return given
