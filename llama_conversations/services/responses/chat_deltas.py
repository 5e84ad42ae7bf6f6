"""What a model server says in chat completions, chunk by chunk, as deltas (OpenAI API reference, Chat Completions).

A whole completion is one large delta, so both ways of asking have one reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import orjson

from llama_conversations.errors import UpstreamGarbled
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.responses import InputTokensDetails, OutputTokensDetails, Usage


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer; ``logprobs`` as the Responses API writes them."""

    text: str
    logprobs: Sequence[JsonValue] = ()


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of a refusal."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the model's thoughts (``reasoning_content`` of DeepSeek, vLLM, llama.cpp; ``reasoning`` of others; a part
    ``thinking`` of Mistral)."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The begin or more of a tool call; ``index`` tells calls of one message apart."""

    index: int
    call_id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The model stopped, and why; an unknown reason counts as ``stop``."""

    reason: Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class PassedEvent:
    """An event of an upstream that speaks the Responses API, to be shown as it is but for its numbers."""

    payload: JsonObject


Delta: TypeAlias = TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta | Finished | Usage | PassedEvent

_REASONS: dict[str, Literal["length", "content_filter"]] = {"length": "length", "content_filter": "content_filter"}


def read_chunk(provider_id: str, payload: bytes) -> Iterator[Delta]:
    """The deltas of one ``chat.completion.chunk``. Errors: ``UpstreamGarbled``."""
    return _read(provider_id, payload, "delta")


def read_completion(provider_id: str, payload: bytes) -> Iterator[Delta]:
    """The deltas of a whole ``chat.completion``. Errors: ``UpstreamGarbled``."""
    return _read(provider_id, payload, "message")


def _read(provider_id: str, payload: bytes, key: Literal["delta", "message"]) -> Iterator[Delta]:
    try:
        chunk = orjson.loads(payload)
        choices = chunk["choices"] if key == "message" else chunk.get("choices")
        if choices or key == "message":
            yield from _read_choice(choices[0], key)
        usage = chunk.get("usage")
        if usage:
            yield _read_usage(usage)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise UpstreamGarbled(provider_id, "The model server's answer is not a chat completion.") from error


def _read_choice(choice: JsonObject, key: str) -> Iterator[Delta]:
    # a last chunk may have no delta, a completion without a message is none
    delta = cast("JsonObject", choice[key] if key == "message" else choice.get(key) or {})
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if reasoning:
        yield ReasoningDelta(_string(reasoning))
    content = delta.get("content")
    if isinstance(content, list):
        yield from _read_parts(cast("list[JsonObject]", content))
    elif content:
        yield TextDelta(_string(content), _read_logprobs(choice.get("logprobs")))
    refusal = delta.get("refusal")
    if refusal:
        yield RefusalDelta(_string(refusal))
    tool_calls = cast("list[JsonObject]", delta.get("tool_calls") or [])
    for position, call in enumerate(tool_calls):
        yield _read_tool_call(call, position)
    reason = choice.get("finish_reason")
    if reason is not None:
        yield Finished(_REASONS.get(_string(reason), "stop"))


def _read_parts(parts: Sequence[JsonObject]) -> Iterator[Delta]:
    """Content as Mistral's reasoning models write it: parts of text and of thoughts; others are passed over."""
    for part in parts:
        if part["type"] == "text":
            yield TextDelta(_string(part["text"]))
        elif part["type"] == "thinking":
            thoughts = cast("list[JsonObject]", part["thinking"])
            yield ReasoningDelta("".join(_string(thought["text"]) for thought in thoughts if thought["type"] == "text"))


def _read_tool_call(call: JsonObject, position: int) -> ToolCallDelta:
    function = cast("JsonObject", call.get("function") or {})
    index, call_id, name = call.get("index"), call.get("id"), function.get("name")
    arguments = function.get("arguments")
    if isinstance(arguments, dict):  # some servers send the object itself
        arguments = orjson.dumps(arguments).decode()
    return ToolCallDelta(
        index=index if isinstance(index, int) else position,
        call_id=_string(call_id) if call_id else None,
        name=_string(name) if name else None,
        arguments=_string(arguments) if arguments else "",
    )


def _read_logprobs(logprobs: JsonValue) -> Sequence[JsonValue]:
    if not isinstance(logprobs, dict):
        return ()
    entries = cast("list[JsonObject]", logprobs.get("content") or [])
    return [
        {
            "token": entry["token"],
            "logprob": entry["logprob"],
            "bytes": entry.get("bytes") or [],
            "top_logprobs": entry.get("top_logprobs") or [],
        }
        for entry in entries
    ]


def _read_usage(usage: JsonObject) -> Usage:
    read, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return Usage(
        input_tokens=read,
        input_tokens_details=InputTokensDetails(
            cached_tokens=_count(usage.get("prompt_tokens_details"), "cached_tokens"),
            cache_write_tokens=_count(usage.get("prompt_tokens_details"), "cache_write_tokens"),
        ),
        output_tokens=written,
        output_tokens_details=OutputTokensDetails(
            reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens")
        ),
        total_tokens=_count(usage, "total_tokens") or read + written,
    )


def _count(counts: JsonValue, key: str) -> int:
    value = counts.get(key) if isinstance(counts, dict) else None
    return value if isinstance(value, int) else 0


def _string(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}")
    return value
