"""Asks models whose server speaks the Responses API itself: our state in front, ``store: false`` behind.

Items go there whole and come back whole: what the upstream makes (encrypted reasoning, hosted tools' items,
annotations) is shown and stored as it is, under the ids that it has there. Only calls of functions are ours to tell
apart, since some of them are tools that this server runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Literal, cast

import orjson
from pydantic_core import from_json, to_json

from llama_conversations.errors import UpstreamFailed, UpstreamGarbled, UpstreamRateLimited, UpstreamRejected
from llama_conversations.services.responses.chat_deltas import (
    Delta,
    Finished,
    PassedEvent,
    ToolCallDelta,
)
from llama_conversations.services.responses.chat_messages import Unseal, after_compaction
from llama_conversations.services.responses.chat_parts import SUMMARY
from llama_conversations.services.responses.prompt_template import PromptPart
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.items import (
    Compaction,
    Item,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    McpListTools,
    Reasoning,
)
from llama_conversations.wire.responses import Usage

_SAME = (
    "include",
    "max_output_tokens",
    "parallel_tool_calls",
    "presence_penalty",
    "frequency_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "top_logprobs",
    "top_p",
    "user",
)
"""Parameters that go to the upstream as they came."""


class ResponsesWire:
    """One turn's model, asked in the Responses API.

    Attributes:
        prompt: The request's stored prompt, filled in.
    """

    def __init__(self, turn: Turn, unseal: Unseal) -> None:
        self._turn, self._unseal = turn, unseal
        self.prompt: Sequence[PromptPart] = ()

    def request(self, context: Sequence[Item], toolbox: Toolbox, *, may_call: bool = True) -> bytes:
        """The request that ``ask`` sends."""
        request = self._turn.request
        fields: JsonObject = {
            "model": self._turn.model.provider_model_id,
            "input": [*self._prompt(), *(told for item in after_compaction(context) for told in self._told(item))],
            "store": False,
        }
        given = cast("JsonObject", request.model_dump(include=set(_SAME), exclude_none=True, by_alias=True))
        fields |= given | ({} if request.instructions is None else {"instructions": request.instructions})
        tools = toolbox.upstream_tools()
        if tools:
            fields["tools"] = [*tools]
            choice = "none" if not may_call else toolbox.upstream_choice(request.tool_choice)
            if choice is not None:
                fields["tool_choice"] = choice
        if request.stream:
            fields["stream"] = True
        return to_json(fields)

    async def ask(self, request: bytes) -> AsyncGenerator[Delta, None]:
        """What the model says. Errors: ``UpstreamError``."""
        model = self._turn.model
        reader = _Reader(model.provider_id)
        if not self._turn.request.stream:
            for delta in reader.whole(await model.inference.create_response(request)):
                yield delta
            return
        async with aclosing(model.inference.stream_response(request)) as events:
            async for event in events:
                for delta in reader.event(event):
                    yield delta
        reader.check_ended()

    def _prompt(self) -> Iterator[JsonObject]:
        if self.prompt:
            parts = [cast("JsonObject", part.model_dump(exclude_unset=True)) for part in self.prompt]
            yield {"type": "message", "role": "user", "content": [*parts]}

    def _told(self, item: Item) -> Iterator[JsonObject]:
        """An item as the upstream takes it: what this server did by itself is told as a function's call."""
        if isinstance(item, Compaction):
            summary = self._unseal(item.encrypted_content)
            if summary is not None:
                yield {"type": "message", "role": "developer", "content": SUMMARY + summary}
                return
        if isinstance(item, McpListTools | McpApprovalRequest | McpApprovalResponse):
            return
        if isinstance(item, McpCall):
            if item.output is not None or item.error is not None:
                output = item.output if item.error is None else f"Error: {to_json(item.error).decode()}"
                yield {"type": "function_call", "call_id": item.id, "name": item.name, "arguments": item.arguments}
                yield {"type": "function_call_output", "call_id": item.id, "output": output}
            return
        fields: JsonObject = item.model_dump(exclude_unset=True, by_alias=True)
        if isinstance(item, Reasoning):
            if item.encrypted_content is None:  # the upstream keeps nothing, so it knows this thought only sealed
                return
            fields.pop("content", None)
        elif item.type in ("message", "function_call", "function_call_output"):
            fields.pop("id", None)
        yield fields


class _Reader:
    """Reads one answer of the upstream, event by event or whole."""

    def __init__(self, provider_id: str) -> None:
        self._provider_id = provider_id
        self._functions: set[int] = set()
        self._ended = False

    def event(self, payload: bytes) -> Iterator[Delta]:
        """The deltas of one event. Errors: ``UpstreamGarbled``; what the upstream says went wrong."""
        try:
            yield from self._read(cast("JsonObject", orjson.loads(payload)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UpstreamGarbled(self._provider_id, "The model server's stream is not one of responses.") from error

    def whole(self, payload: bytes) -> Iterator[Delta]:
        """The deltas of a whole response. Errors: as of ``event``."""
        try:
            response = cast("JsonObject", from_json(payload))
            for index, item in enumerate(cast("list[JsonObject]", response["output"])):
                if item["type"] == "function_call":
                    yield _call(index, item)
                    yield ToolCallDelta(index, None, None, cast("str", item["arguments"]))
                else:
                    yield PassedEvent({"type": "response.output_item.added", "output_index": index, "item": item})
                    yield PassedEvent({"type": "response.output_item.done", "output_index": index, "item": item})
            yield from self._end(response)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UpstreamGarbled(self._provider_id, "The model server's answer is not a response.") from error

    def check_ended(self) -> None:
        """Errors: ``UpstreamGarbled`` for a stream without a terminal event."""
        if not self._ended:
            raise UpstreamGarbled(self._provider_id, "The model server's stream ended without a terminal event.")

    def _read(self, event: JsonObject) -> Iterator[Delta]:
        kind = cast("str", event["type"])
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            yield from self._end(cast("JsonObject", event["response"]))
        elif kind == "error":
            self._raise(event)
        elif "output_index" in event:
            index = cast("int", event["output_index"])
            item = cast("JsonObject", event.get("item") or {})
            if kind == "response.output_item.added" and item.get("type") == "function_call":
                self._functions.add(index)
                yield _call(index, item)
            elif index not in self._functions:
                yield PassedEvent(event)
            elif kind == "response.function_call_arguments.delta":
                yield ToolCallDelta(index, None, None, cast("str", event["delta"]))

    def _end(self, response: JsonObject) -> Iterator[Delta]:
        self._ended = True
        if response["status"] == "failed":
            self._raise(cast("JsonObject", response.get("error") or {}))
        if response.get("usage"):
            yield Usage.model_validate(_usage(cast("JsonObject", response["usage"])))
        details = cast("JsonObject", response.get("incomplete_details") or {})
        reason: Literal["stop", "length", "content_filter"] = "stop"
        if response["status"] == "incomplete":
            reason = "content_filter" if details.get("reason") == "content_filter" else "length"
        yield Finished(reason)

    def _raise(self, error: JsonObject) -> None:
        nested = error.get("error")
        facts = nested if isinstance(nested, dict) else error
        code, message = facts.get("code"), str(facts.get("message") or "The model server failed.")
        if code in ("rate_limit_exceeded", "insufficient_quota"):
            raise UpstreamRateLimited(self._provider_id, message, retry_after=None, code=str(code))
        if code in ("invalid_prompt", "context_length_exceeded"):
            raise UpstreamRejected(self._provider_id, message, code=str(code))
        raise UpstreamFailed(self._provider_id, message)


def _call(index: int, item: JsonObject) -> ToolCallDelta:
    return ToolCallDelta(index, cast("str", item["call_id"]), cast("str", item["name"]), "")


def _usage(usage: JsonObject) -> JsonObject:
    """The upstream's usage, with counts that it leaves out as zero."""
    read = cast("JsonObject", usage.get("input_tokens_details") or {})
    written = cast("JsonObject", usage.get("output_tokens_details") or {})
    return usage | {
        "input_tokens_details": {
            "cached_tokens": read.get("cached_tokens") or 0,
            "cache_write_tokens": read.get("cache_write_tokens") or 0,
        },
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
    }
