"""One turn, not streamed: the response object, and what the model's answer becomes in it."""

from __future__ import annotations

import json
import re
import time

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok
from harness.turns import TIME, WEATHER, messages_for, post, text_of, turn
from scripted_model import ScriptedModel
from scripted_model.answers import Answer, delta, text
from scripted_model.modes import PARIS, ROME, UNICODE_TEXT

ALWAYS = {
    "id", "object", "created_at", "status", "completed_at", "background", "error", "incomplete_details", "instructions",
    "max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls", "previous_response_id",
    "reasoning", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier", "store",
    "temperature", "top_p", "top_logprobs", "presence_penalty", "frequency_penalty", "text", "tool_choice", "tools",
    "truncation", "usage",
    "metadata",
}  # fmt: skip
"""Keys of every response."""

DEFAULTS = {
    "object": "response",
    "status": "completed",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "echo",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "prompt_cache_key": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_logprobs": 0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
    "metadata": {},
}


def test_a_text_turn_answers_with_a_whole_response_object(http: httpx2.Client) -> None:
    before = int(time.time())
    response = turn(http, "echo", "Hello")
    assert response.keys() == ALWAYS
    assert {key: response[key] for key in DEFAULTS} == DEFAULTS
    assert re.fullmatch(r"resp_[0-9a-f]{50}", response["id"])
    assert type(response["created_at"]) is int
    assert before <= response["created_at"] <= response["completed_at"] <= time.time()
    [message] = response["output"]
    assert re.fullmatch(r"msg_[0-9a-f]{48}", message.pop("id"))
    part = {"type": "output_text", "text": "seen=1 last=Hello", "annotations": [], "logprobs": []}
    assert message == {"type": "message", "status": "completed", "role": "assistant", "content": [part]}


def test_a_fresh_responses_items_inherit_its_partition(http: httpx2.Client) -> None:
    response = turn(http)
    partition = response["id"].removeprefix("resp_")[:8]
    assert response["output"][0]["id"].startswith(f"msg_{partition}")
    assert turn(http)["id"][5:13] != partition


def test_every_parameter_is_echoed_as_it_was_given(http: httpx2.Client) -> None:
    given = {
        "instructions": "Be short.",
        "max_output_tokens": 16,
        "max_tool_calls": 3,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "user-1",
        "prompt_cache_key": "key",
        "prompt_cache_retention": "24h",
        "service_tier": "flex",
        "temperature": 0.0,
        "top_p": 0.25,
        "top_logprobs": 2,
        "presence_penalty": -0.5,
        "frequency_penalty": 1.5,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tool_choice": "none",
        "truncation": "disabled",
        "metadata": {"topic": "test", "empty": ""},
        "user": "somebody",
    }
    response = turn(http, "echo", "Hello", tools=[WEATHER], **given)
    assert {key: response[key] for key in given} == given


def test_null_stands_for_every_absent_parameter(http: httpx2.Client) -> None:
    names = [
        "instructions",
        "conversation",
        "previous_response_id",
        "store",
        "background",
        "stream",
        "stream_options",
        "include",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "text",
        "reasoning",
        "truncation",
        "metadata",
        "prompt",
        "context_management",
        "moderation",
        "service_tier",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    ]
    response = turn(http, "echo", "Hello", **dict.fromkeys(names))
    assert {key: response[key] for key in DEFAULTS} == DEFAULTS
    assert "conversation" not in response


def test_empty_lists_stand_for_absent_ones(http: httpx2.Client) -> None:
    assert turn(http, "echo", "Hello", tools=[], include=[], metadata={})["tools"] == []


def test_a_function_tool_is_echoed_with_all_its_keys(http: httpx2.Client) -> None:
    [shown] = turn(http, "echo", "Hello", tools=[{"type": "function", "name": "f"}])["tools"]
    assert shown == {"type": "function", "name": "f", "description": None, "parameters": None, "strict": False}


def test_the_model_is_shown_as_it_was_named(http: httpx2.Client) -> None:
    response = turn(http, "scripted/echo", "Hello")
    assert (response["model"], text_of(response)) == ("scripted/echo", "seen=1 last=Hello")


def test_an_alias_is_shown_as_it_was_named_and_sent_as_what_it_means(
    varied: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    assert turn(varied, "nickname", f"Hello tag={tag}")["model"] == "nickname"
    assert model.requests(tag=tag)[0].body["model"] == "echo"


def test_input_may_be_a_message_without_a_type(http: httpx2.Client) -> None:
    assert text_of(turn(http, "echo", [{"role": "user", "content": "Hello"}])) == "seen=1 last=Hello"


def test_input_may_be_typed_parts(http: httpx2.Client) -> None:
    parts = [{"type": "input_text", "text": "Hello"}, {"type": "input_text", "text": "there"}]
    assert text_of(turn(http, "echo", [{"role": "user", "content": parts}])) == "seen=1 last=Hello there"


def test_usage_is_told_as_the_model_server_counts_it(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    counted = {
        "prompt_tokens": 70,
        "completion_tokens": 40,
        "total_tokens": 110,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    chunk = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": counted,
    }
    model.script(Answer(body=json.dumps(chunk)), tag=tag)
    assert turn(http, "scripted", f"tag={tag}")["usage"] == {
        "input_tokens": 70,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 110,
    }


def test_usage_is_null_when_the_model_server_tells_none(http: httpx2.Client) -> None:
    assert turn(http, "no-usage")["usage"] is None


def test_a_function_call_becomes_an_item(http: httpx2.Client) -> None:
    [call] = turn(http, "tool", tools=[WEATHER])["output"]
    assert re.fullmatch(r"fc_[0-9a-f]{48}", call.pop("id"))
    assert call == {
        "type": "function_call",
        "status": "completed",
        "call_id": "call_paris",
        "name": "get_weather",
        "arguments": PARIS,
    }


def test_parallel_calls_become_items_in_their_order(http: httpx2.Client) -> None:
    output = turn(http, "parallel-tools", tools=[WEATHER, TIME])["output"]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output] == [
        ("call_paris", "get_weather", PARIS),
        ("call_rome", "get_time", ROME),
    ]


def test_text_and_a_call_become_two_items(http: httpx2.Client) -> None:
    message, call = turn(http, "text-and-tool", tools=[WEATHER])["output"]
    assert message["content"][0]["text"] == "Let me look."
    assert (call["type"], call["arguments"]) == ("function_call", PARIS)


@pytest.mark.parametrize("mode", ["tool-no-id", "tool-whole"])
def test_a_call_gets_an_id_and_its_arguments_however_the_model_server_writes_it(http: httpx2.Client, mode: str) -> None:
    [call] = turn(http, mode, tools=[WEATHER])["output"]
    assert call["arguments"] == PARIS
    assert re.fullmatch(r"call_\w{5,}", call["call_id"])


def test_an_id_that_is_made_for_a_call_is_24_letters_and_digits(http: httpx2.Client) -> None:
    [call] = turn(http, "tool-no-id", tools=[WEATHER])["output"]
    assert re.fullmatch(r"call_[A-Za-z0-9]{24}", call["call_id"])


def test_arguments_that_are_no_json_are_shown_as_the_model_wrote_them(http: httpx2.Client) -> None:
    [call] = turn(http, "tool-bad-arguments", tools=[WEATHER])["output"]
    assert call["arguments"] == '{"city":'


@pytest.mark.parametrize("mode", ["reasoning", "reasoning-alt"])
def test_thoughts_become_a_reasoning_item_before_the_message(http: httpx2.Client, mode: str) -> None:
    thoughts, message = turn(http, mode)["output"]
    assert re.fullmatch(r"rs_[0-9a-f]{48}", thoughts.pop("id"))
    said = [{"type": "reasoning_text", "text": "Let me think."}]
    assert thoughts == {"type": "reasoning", "summary": [], "content": said}
    assert message["content"][0]["text"] == "42"


@pytest.mark.parametrize("key", ["summary", "generate_summary"])
def test_thoughts_are_shown_as_a_summary_where_one_is_asked_for(http: httpx2.Client, key: str) -> None:
    response = turn(http, "reasoning", reasoning={key: "auto"})
    thoughts, _ = response["output"]
    assert thoughts["summary"] == [{"type": "summary_text", "text": "Let me think."}]
    assert "content" not in thoughts
    assert response["reasoning"] == {"effort": None, "summary": "auto"}


def test_a_refusal_becomes_a_refusal_part(http: httpx2.Client) -> None:
    [message] = turn(http, "refusal")["output"]
    assert message["content"] == [{"type": "refusal", "refusal": "I'm sorry, I can't help with that."}]
    assert message["status"] == "completed"


@pytest.mark.parametrize(("mode", "reason"), [("length", "max_output_tokens"), ("content-filter", "content_filter")])
def test_an_answer_that_is_cut_off_is_incomplete(http: httpx2.Client, mode: str, reason: str) -> None:
    response = turn(http, mode, max_output_tokens=16)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert (response["completed_at"], response["error"]) == (None, None)
    assert response["output"][0]["status"] == "incomplete"
    assert text_of(response) == "Once upon "


def test_an_empty_answer_is_one_empty_message(http: httpx2.Client) -> None:
    response = turn(http, "empty")
    assert (response["status"], text_of(response)) == ("completed", "")


def test_text_comes_through_whatever_its_characters(http: httpx2.Client) -> None:
    assert text_of(turn(http, "unicode", UNICODE_TEXT)) == UNICODE_TEXT


def test_what_a_user_writes_reaches_the_model_whatever_its_characters(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    turn(http, "unicode", f"{UNICODE_TEXT} tag={tag}", instructions=UNICODE_TEXT)
    system, user = messages_for(model, tag)
    assert (system["content"], user["content"]) == (UNICODE_TEXT, f"{UNICODE_TEXT} tag={tag}")


def test_log_probabilities_come_with_the_text(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    response = turn(http, "logprobs", f"tag={tag}", top_logprobs=1, include=["message.output_text.logprobs"])
    first, second = response["output"][0]["content"][0]["logprobs"]
    chance = {"token": "Hello", "logprob": -0.25, "bytes": list(b"Hello")}
    assert first == chance | {"top_logprobs": [chance]}
    assert second["token"] == " there"


def test_output_text_of_the_client_is_the_text(client: OpenAI) -> None:
    assert client.responses.create(model="echo", input="Hello").output_text == "seen=1 last=Hello"


def test_a_long_text_comes_whole(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script(Answer(text(*["word " * 2000] * 50)), tag=tag)
    assert text_of(turn(http, "scripted", f"tag={tag}")) == "word " * 100_000


def test_text_and_refusal_become_parts_of_one_message(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script((delta(content="Well. "), delta(refusal="No."), *text()), tag=tag)
    [message] = turn(http, "scripted", f"tag={tag}")["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]


def test_the_answer_has_the_headers_of_the_api(http: httpx2.Client) -> None:
    answer = post(http)
    ok(answer)
    assert answer.headers["openai-version"] == "2020-10-01"
    assert int(answer.headers["openai-processing-ms"]) >= 0
