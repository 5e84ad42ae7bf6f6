"""Chunks of a model server as deltas; what is no chunk is told so, whatever it is."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.errors import UpstreamGarbled
from llama_conversations.services.responses.chat_deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    read_chunk,
    read_completion,
)
from llama_conversations.wire.responses import InputTokensDetails, OutputTokensDetails, Usage
from unit.services.responses.support import PROVIDER, USAGE, chunk


def deltas(payload: bytes | Any) -> list[Delta]:
    return list(read_chunk(PROVIDER, payload if isinstance(payload, bytes) else orjson.dumps(payload)))


def whole(message: Any, **choice: object) -> list[Delta]:
    return list(read_completion(PROVIDER, orjson.dumps({"choices": [{"message": message, **choice}]})))


def call(**fields: object) -> Any:
    return {"choices": [{"delta": {"tool_calls": [fields]}}]}


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": "a"}, [TextDelta("a")]),
        ({"refusal": "a"}, [RefusalDelta("a")]),
        ({"reasoning_content": "a"}, [ReasoningDelta("a")]),
        ({"reasoning": "a"}, [ReasoningDelta("a")]),
        ({"reasoning": "a", "content": "b", "refusal": "c"}, [ReasoningDelta("a"), TextDelta("b"), RefusalDelta("c")]),
        ({"role": "assistant", "content": ""}, []),
        ({"content": None, "refusal": None, "tool_calls": None, "reasoning": None, "function_call": None}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_what_a_delta_says(delta: dict[str, object], expected: list[Delta]) -> None:
    assert deltas(chunk(**delta)) == expected
    assert whole(delta) == expected


def test_content_in_parts_is_text_and_thoughts() -> None:
    parts = [
        {
            "type": "thinking",
            "thinking": [{"type": "text", "text": "h"}, {"type": "reference"}, {"type": "text", "text": "m"}],
        },
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "42"},
    ]
    payload = orjson.dumps({"choices": [{"delta": {"content": parts}}]})
    assert list(read_chunk(PROVIDER, payload)) == [ReasoningDelta("hm"), TextDelta("42")]


def test_a_tool_call_begins_or_goes_on_under_its_index() -> None:
    first = call(index=1, id="call_a", type="function", function={"name": "look", "arguments": ""})
    assert deltas(first) == [ToolCallDelta(1, "call_a", "look", "")]
    assert deltas(call(index=1, function={"arguments": "{"})) == [ToolCallDelta(1, None, None, "{")]
    assert deltas(call(index=1)) == [ToolCallDelta(1, None, None, "")]


def test_empty_ids_and_names_are_none() -> None:
    assert deltas(call(index=0, id="", function={"name": "", "arguments": None})) == [ToolCallDelta(0, None, None, "")]


def test_calls_without_an_index_have_their_place() -> None:
    calls = [{"id": "a", "function": {"name": "x"}}, {"id": "b", "function": {"name": "y"}, "index": None}]
    assert whole({"content": None, "tool_calls": calls}) == [
        ToolCallDelta(0, "a", "x", ""),
        ToolCallDelta(1, "b", "y", ""),
    ]


def test_arguments_may_be_the_object_itself() -> None:
    [delta] = deltas(call(index=0, id="a", function={"name": "x", "arguments": {"größe": [1, None]}}))
    assert isinstance(delta, ToolCallDelta)
    assert json.loads(delta.arguments) == {"größe": [1, None]}


@pytest.mark.parametrize(
    ("reason", "known"),
    [
        ("stop", "stop"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("made up", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_why_the_model_stopped(reason: str, known: str) -> None:
    assert deltas(chunk(finish_reason=reason)) == [Finished(known)]  # type: ignore[arg-type]


def test_usage_may_come_with_no_choice_or_an_empty_list_of_them() -> None:
    expected = Usage(
        input_tokens=11,
        input_tokens_details=InputTokensDetails(cached_tokens=3, cache_write_tokens=0),
        output_tokens=7,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=2),
        total_tokens=18,
    )
    for around in ({}, {"choices": []}, {"choices": None}):
        assert deltas({**around, "usage": USAGE}) == [expected]
    assert deltas({"choices": [], "usage": None}) == []


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": 1}, {"prompt_tokens": 1, "completion_tokens": None, "prompt_tokens_details": None}]
)
def test_counts_that_are_missing_are_zero(usage: dict[str, object]) -> None:
    [found] = deltas({"usage": usage})
    assert isinstance(found, Usage)
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (1, 0, 1)


def test_logprobs_are_written_as_the_responses_api_has_them() -> None:
    entry = {"token": "a", "logprob": -1.5, "bytes": None}
    [delta] = whole({"content": "a"}, logprobs={"content": [entry], "refusal": None})
    assert isinstance(delta, TextDelta)
    assert delta.logprobs == [{"token": "a", "logprob": -1.5, "bytes": [], "top_logprobs": []}]
    for nothing in (None, {"content": None}, {}):
        [delta] = whole({"content": "a"}, logprobs=nothing)
        assert isinstance(delta, TextDelta)
        assert not delta.logprobs


GARBAGE = [
    b"",
    b"{",
    b"nonsense",
    b"null",
    b"[]",
    b'"a"',
    b"\xff\xfe",
    b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
    b"[" * 2000,
    *(
        orjson.dumps(payload)
        for payload in (
            {"choices": 1},
            {"choices": "a"},
            {"choices": {"0": {}}},
            {"choices": [None]},
            {"choices": ["a"]},
            {"choices": [{"delta": "a"}]},
            {"choices": [{"delta": ["a"]}]},
            {"choices": [{"delta": {"content": 1}}]},
            {"choices": [{"delta": {"content": ["a"]}}]},
            {"choices": [{"delta": {"refusal": {"a": 1}}}]},
            {"choices": [{"delta": {"reasoning": True}}]},
            {"choices": [{"delta": {"tool_calls": 1}}]},
            {"choices": [{"delta": {"tool_calls": ["a"]}}]},
            {"choices": [{"delta": {"tool_calls": {"a": 1}}}]},
            {"choices": [{"delta": {"tool_calls": [{"function": "a"}]}}]},
            {"choices": [{"delta": {"tool_calls": [{"id": 7}]}}]},
            {"choices": [{"delta": {"tool_calls": [{"function": {"name": {}, "arguments": 1}}]}}]},
            {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": [1]}}]}}]},
            {"choices": [{"finish_reason": 1}]},
            {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{}]}}]},
            {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": "a"}}]},
            {"usage": "a"},
            {"usage": [1]},
        )
    ),
]


@pytest.mark.parametrize("payload", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_chunk_is_garbled_and_names_the_provider(payload: bytes) -> None:
    with pytest.raises(UpstreamGarbled, match="not a chat completion") as found:
        deltas(payload)
    assert found.value.provider_id == PROVIDER


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"choices":[]}', b'{"choices":null}', b'{"choices":[{}]}', b'{"choices":[{"message":null}]}']
)
def test_a_completion_without_a_message_is_garbled(payload: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        list(read_completion(PROVIDER, payload))


KEYS = (
    *("choices", "delta", "message", "content", "refusal", "reasoning", "tool_calls", "function", "name", "arguments"),
    *(
        "id",
        "index",
        "usage",
        "prompt_tokens",
        "prompt_tokens_details",
        "finish_reason",
        "logprobs",
        "token",
        "logprob",
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["choices", "usage"]), json_values))
def test_any_json_is_deltas_or_garbled_and_nothing_else(payload: dict[str, object]) -> None:
    for read in (read_chunk, read_completion):
        try:
            found = list(read(PROVIDER, orjson.dumps(payload)))
        except UpstreamGarbled:
            continue
        for delta in found:
            if isinstance(delta, TextDelta | RefusalDelta | ReasoningDelta):
                assert isinstance(delta.text, str)
                assert delta.text
            elif isinstance(delta, ToolCallDelta):
                assert isinstance(delta.index, int)
                assert isinstance(delta.arguments, str)


@given(st.binary(max_size=60))
def test_any_bytes_are_deltas_or_garbled_and_nothing_else(payload: bytes) -> None:
    with suppress(UpstreamGarbled):
        deltas(payload)
