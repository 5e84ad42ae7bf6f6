"""What a Responses upstream refuses in a history: texts of another role's kind, and thoughts that led to nothing."""

from __future__ import annotations

import pytest

from llama_conversations.services.responses.chat_parts import told_arguments
from llama_conversations.services.responses.responses_input import in_its_role, without_stray_thoughts
from llama_conversations.wire.events import JsonObject

IMAGE: JsonObject = {"type": "input_image", "image_url": "https://example.com/a.png"}


@pytest.mark.parametrize(
    ("role", "part", "told"),
    [
        ("user", {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "a"}),
        ("user", {"type": "output_text", "text": "a", "annotations": []}, {"type": "input_text", "text": "a"}),
        ("developer", {"type": "text", "text": "a"}, {"type": "input_text", "text": "a"}),
        ("system", {"type": "refusal", "refusal": "no"}, {"type": "input_text", "text": "no"}),
        ("user", IMAGE, IMAGE),
        ("assistant", {"type": "input_text", "text": "a"}, {"type": "output_text", "text": "a", "annotations": []}),
        ("assistant", {"type": "reasoning_text", "text": "a"}, {"type": "output_text", "text": "a", "annotations": []}),
        ("assistant", {"type": "refusal", "refusal": "no"}, {"type": "refusal", "refusal": "no"}),
        ("assistant", IMAGE, IMAGE),
    ],
)
def test_a_text_is_of_the_kind_that_its_role_has(role: str, part: JsonObject, told: JsonObject) -> None:
    message: JsonObject = {"type": "message", "role": role, "content": [part]}
    assert in_its_role(message) == message | {"content": [told]}


def test_a_string_needs_no_kind() -> None:
    message: JsonObject = {"type": "message", "role": "user", "content": "a"}
    assert in_its_role(message) is message


THOUGHT: JsonObject = {"type": "reasoning", "id": "rs_1"}
ANSWER: JsonObject = {"type": "message", "role": "assistant", "content": "a"}
QUESTION: JsonObject = {"type": "message", "role": "user", "content": "a"}
CALL: JsonObject = {"type": "function_call", "call_id": "c"}
OUTPUT: JsonObject = {"type": "function_call_output", "call_id": "c"}


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ([QUESTION, THOUGHT, ANSWER], [QUESTION, THOUGHT, ANSWER]),
        ([THOUGHT, THOUGHT, CALL, OUTPUT], [THOUGHT, THOUGHT, CALL, OUTPUT]),
        ([CALL, THOUGHT, OUTPUT], [CALL, OUTPUT]),
        ([THOUGHT, QUESTION, ANSWER], [QUESTION, ANSWER]),
        ([ANSWER, THOUGHT], [ANSWER]),
    ],
)
def test_thoughts_stand_before_what_the_model_did(told: list[JsonObject], kept: list[JsonObject]) -> None:
    assert list(without_stray_thoughts(told)) == kept


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        ("[1]", '{"malformed":"[1]"}'),
        ('{"a":', '{"malformed":"{\\"a\\":"}'),
        ('{"a": NaN}', '{"malformed":"{\\"a\\": NaN}"}'),
        (" ", '{"malformed":" "}'),
    ],
)
def test_arguments_are_told_as_an_object(written: str, told: str) -> None:
    assert told_arguments(written) == told
