"""Estimates of tokens: near enough, never dependent on anything but the request, and quick."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.services.responses.token_estimate import (
    IMAGE_TOKENS,
    LOW_DETAIL_IMAGE_TOKENS,
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    item_tokens,
    least_tokens,
    request_tokens,
    text_tokens,
)
from llama_conversations.wire.items import INPUT_ITEM


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("four", 1),
        ("The quick brown fox jumps over the lazy dog", 11),
        ('{"a":1}', 4),
        ("你好世界", 4),
        ("こんにちは", 5),
        ("안녕", 2),
        ("Привет", 3),
        ("naïve", 2),
        ("🙂", 2),
        ("\ud800", 1),
        ("a你", 2),
        ("1,你", 2),
        ("aü你🙂1", 5),
    ],
)
def test_a_text_counts_by_its_script(text, tokens):
    assert text_tokens(text) == tokens


@given(st.text(), st.text())
def test_more_text_never_counts_less_and_parts_sum_up(one, other):
    both = text_tokens(one + other)
    assert max(text_tokens(one), text_tokens(other)) <= both <= text_tokens(one) + text_tokens(other)


def message(content, **more):
    return {"role": "user", "content": content} | more


def estimate(*messages, **more):
    return request_tokens(orjson.dumps({"model": "m", "messages": list(messages), **more}))


def test_a_request_is_its_messages_each_in_its_frame():
    assert estimate() == REPLY_TOKENS
    assert estimate(message("four"), message("你好")) == REPLY_TOKENS + 2 * MESSAGE_TOKENS + 3


def test_parts_count_as_their_text():
    assert estimate(message([{"type": "text", "text": "four"}])) == estimate(message("four"))


def test_tools_and_formats_count_as_the_json_they_are():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert estimate(message("four"), tools=[tool]) == estimate(message("four")) + text_tokens(
        orjson.dumps([tool]).decode()
    )
    assert estimate(response_format={"type": "json_object"}) > REPLY_TOKENS


def test_calls_count_with_name_and_arguments():
    call = {"id": "call_1234567890", "type": "function", "function": {"name": "name", "arguments": '{"a":1}'}}
    assert estimate(message(None, tool_calls=[call])) == estimate(message("")) + 1 + 4


@pytest.mark.parametrize(("detail", "tokens"), [({}, IMAGE_TOKENS), ({"detail": "low"}, LOW_DETAIL_IMAGE_TOKENS)])
def test_an_image_counts_the_same_however_large_it_is(detail, tokens):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000} | detail}
    assert estimate(message([part])) == estimate(message("")) + tokens


def test_audio_counts_by_its_length():
    def part(length):
        return {"type": "input_audio", "input_audio": {"data": "A" * length, "format": "mp3"}}

    assert estimate(message([part(213_333)])) == estimate(message("")) + 101
    assert estimate(message([part(0)])) == estimate(message("")) + 1


@pytest.mark.parametrize(
    ("item", "tokens"),
    [
        ({"type": "message", "role": "user", "content": "four"}, 1),
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "你好"}]}, 2),
        ({"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}, 765),
        ({"type": "message", "role": "user", "content": [{"type": "input_image", "detail": "low"}]}, 85),
        ({"type": "message", "role": "user", "content": [{"type": "input_file", "file_data": "A" * 533}]}, 101),
        ({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "name", "arguments": "{}"}, 2),
        ({"type": "function_call_output", "call_id": "call_1", "output": "four"}, 1),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "A" * 1000}, 0),
    ],
)
def test_an_item_counts_what_it_tells_the_model(item, tokens):
    assert item_tokens(INPUT_ITEM.validate_python(item)) == MESSAGE_TOKENS + tokens


def test_json_of_any_depth_is_counted():
    body = b'{"messages":[{"content":%b"four"%b}]}' % (b"[" * 900, b"]" * 900)
    assert request_tokens(body) == estimate(message("four"))


def test_instructions_of_a_request_in_the_responses_api_count_as_a_message():
    without = {"input": [{"type": "message", "role": "user", "content": "four"}]}
    counted = request_tokens(orjson.dumps(without | {"instructions": "four"}))
    assert counted == request_tokens(orjson.dumps(without)) + MESSAGE_TOKENS + 1


def test_a_request_has_at_least_as_many_tokens_as_its_users_tools_and_instructions_have_words():
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "one two\nthree\u00a0and"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "of whom templates leave out what they like", "tool_calls": [{"id": "c"}]},
        {"role": "tool", "tool_call_id": "c", "content": "four five"},
        {"role": "user", "content": None},
    ]
    assert least_tokens(orjson.dumps({"messages": said})) == 7
    items = [{"role": "user", "content": "one"}, {"type": "function_call_output", "output": "two three"}]
    assert least_tokens(orjson.dumps({"input": items, "instructions": "Be kind."})) == 5
    assert least_tokens(orjson.dumps({"messages": [{"role": "user", "content": "\u00a0" * 99}]})) == 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_words_are_never_more_than_a_byte_pair_encoding_can_make_of_them(text):
    assert least_tokens(orjson.dumps({"messages": [{"role": "user", "content": text}]})) <= len(text)
