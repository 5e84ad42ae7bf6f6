"""Streamed turns: which events come, in which order. What holds for every stream is in ``harness.event_stream``."""

from __future__ import annotations

import json

import httpx2
import pytest

from harness.turns import TIME, WEATHER, checked, post, request, stream, text_of, turn
from scripted_model import ScriptedModel
from scripted_model.answers import Answer, delta, finish, text, tool_call
from scripted_model.modes import PARIS, ROME, UNICODE_TEXT

BEGIN = ["created", "in_progress"]
TEXT = [
    "output_item.added",
    "content_part.added",
    *["output_text.delta"] * 2,
    "output_text.done",
    "content_part.done",
    "output_item.done",
]
CALL = [
    "output_item.added",
    *["function_call_arguments.delta"] * 2,
    "function_call_arguments.done",
    "output_item.done",
]
THOUGHTS = [
    "output_item.added",
    "content_part.added",
    *["reasoning_text.delta"] * 2,
    "reasoning_text.done",
    "content_part.done",
    "output_item.done",
]
SUMMARY = [
    "output_item.added",
    "reasoning_summary_part.added",
    *["reasoning_summary_text.delta"] * 2,
    "reasoning_summary_text.done",
    "reasoning_summary_part.done",
    "output_item.done",
]

SAME_EITHER_WAY = [
    "echo", "tool", "parallel-tools", "text-and-tool", "reasoning-tool", "tool-no-id", "tool-whole",
    "tool-bad-arguments", "reasoning", "reasoning-alt", "refusal", "length", "content-filter", "json",
    "empty", "unicode", "logprobs", "no-usage", "no-done",
]  # fmt: skip
"""Models that say the same in a stream and in one piece."""


def _without_what_is_new(output: list[dict[str, object]]) -> str:
    for item in output:
        item.pop("id")
        if item.get("call_id") and item["type"] == "function_call" and "paris" not in str(item["call_id"]):
            item["call_id"] = "call"
    return json.dumps(output)


def test_text_comes_in_the_order_of_the_api(http: httpx2.Client) -> None:
    told = stream(http)
    assert told.types == [*BEGIN, *TEXT, "completed"]
    assert [event["delta"] for event in told.of_type("output_text.delta")] == ["seen=1 ", "last=Hello"]


def test_a_function_call_comes_in_the_order_of_the_api_and_has_no_content_part(http: httpx2.Client) -> None:
    told = stream(http, "tool", tools=[WEATHER])
    assert told.types == [*BEGIN, *CALL, "completed"]
    [done] = told.of_type("function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("get_weather", PARIS)


def test_parallel_calls_come_one_after_the_other_each_at_its_own_output_index(http: httpx2.Client) -> None:
    told = stream(http, "parallel-tools", tools=[WEATHER, TIME])
    each = ["output_item.added", *["function_call_arguments.delta"] * 3, *CALL[-2:]]
    assert told.types == [*BEGIN, *each, *each, "completed"]
    assert [event["output_index"] for event in told.of_type("function_call_arguments.delta")] == [0, 0, 0, 1, 1, 1]
    assert [item["arguments"] for item in told.response["output"]] == [PARIS, ROME]


def test_text_and_a_call_come_one_after_the_other(http: httpx2.Client) -> None:
    told = stream(http, "text-and-tool", tools=[WEATHER])
    assert told.types == [*BEGIN, *TEXT, *CALL, "completed"]


def test_a_call_that_comes_whole_is_told_with_its_arguments_as_one_delta(http: httpx2.Client) -> None:
    told = stream(http, "tool-whole", tools=[WEATHER])
    [delta_] = told.of_type("function_call_arguments.delta")
    assert delta_["delta"] == PARIS


@pytest.mark.parametrize("mode", ["reasoning", "reasoning-alt"])
def test_thoughts_come_before_the_message(http: httpx2.Client, mode: str) -> None:
    assert stream(http, mode).types == [*BEGIN, *THOUGHTS, *TEXT, "completed"]


def test_thoughts_come_before_a_call(http: httpx2.Client) -> None:
    types = stream(http, "reasoning-tool", tools=[WEATHER]).types
    one_delta = [kind for number, kind in enumerate(THOUGHTS) if number != 3]
    assert types == [*BEGIN, *one_delta, *CALL, "completed"]


def test_thoughts_come_as_a_summary_where_one_is_asked_for(http: httpx2.Client) -> None:
    told = stream(http, "reasoning", reasoning={"summary": "detailed"})
    assert told.types == [*BEGIN, *SUMMARY, *TEXT, "completed"]
    assert told.response["output"][0]["summary"] == [{"type": "summary_text", "text": "Let me think."}]


def test_a_refusal_comes_as_refusal_events(http: httpx2.Client) -> None:
    assert stream(http, "refusal").types == [
        *BEGIN,
        "output_item.added",
        "content_part.added",
        *["refusal.delta"] * 2,
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


@pytest.mark.parametrize(("mode", "reason"), [("length", "max_output_tokens"), ("content-filter", "content_filter")])
def test_a_cut_off_answer_closes_its_item_and_ends_incomplete(http: httpx2.Client, mode: str, reason: str) -> None:
    told = stream(http, mode)
    assert told.types == [*BEGIN, *TEXT, "incomplete"]
    assert told.of_type("output_item.done")[0]["item"]["status"] == "incomplete"
    assert told.response["incomplete_details"] == {"reason": reason}


def test_a_call_that_is_cut_off_is_incomplete(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script((*tool_call(0, "call_1", "get_weather", '{"ci'), finish("length")), tag=tag)
    told = stream(http, "scripted", f"tag={tag}", tools=[WEATHER])
    [call] = told.response["output"]
    assert (call["status"], call["arguments"]) == ("incomplete", '{"ci')


def test_an_empty_answer_is_told_without_a_delta(http: httpx2.Client) -> None:
    told = stream(http, "empty")
    assert told.types == [*BEGIN, *[kind for kind in TEXT if not kind.endswith("delta")], "completed"]


def test_text_is_cut_between_characters_wherever_the_model_servers_bytes_are_cut(http: httpx2.Client) -> None:
    told = stream(http, "unicode", UNICODE_TEXT)
    assert "".join(event["delta"] for event in told.of_type("output_text.delta")) == UNICODE_TEXT


def test_log_probabilities_come_with_each_delta(http: httpx2.Client) -> None:
    told = stream(http, "logprobs", top_logprobs=1, include=["message.output_text.logprobs"])
    tokens = [[one["token"] for one in event["logprobs"]] for event in told.of_type("output_text.delta")]
    assert tokens == [["Hello"], [" there"]]


def test_usage_is_told_by_the_last_event_alone(http: httpx2.Client) -> None:
    told = stream(http)
    assert [event["response"]["usage"] is None for event in told.events if "response" in event] == [True, True, False]
    assert told.response["usage"]["total_tokens"] > 0


def test_usage_is_null_where_the_model_server_tells_none(http: httpx2.Client) -> None:
    assert stream(http, "no-usage").response["usage"] is None


def test_an_answer_without_done_counts_where_a_finish_reason_came(http: httpx2.Client) -> None:
    assert text_of(stream(http, "no-done").response) == "All said."


@pytest.mark.parametrize("mode", SAME_EITHER_WAY)
def test_a_streamed_turn_has_the_output_of_a_plain_one(http: httpx2.Client, mode: str) -> None:
    tools = [WEATHER, TIME] if "tool" in mode else []
    plain, streamed = turn(http, mode, "Hi", tools=tools), stream(http, mode, "Hi", tools=tools).response
    assert _without_what_is_new(streamed["output"]) == _without_what_is_new(plain["output"])
    assert streamed["status"] == plain["status"]


def test_the_first_events_are_told_before_the_model_has_said_anything(http: httpx2.Client, tag: str) -> None:
    body = request("hang", f"gate={tag} tag={tag}", stream=True, store=False)
    with http.stream("POST", "/responses", json=body) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)][::3] == ["event: response.created", "event: response.in_progress"]


def test_a_delta_is_told_before_the_next_one_is_there(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    with http.stream("POST", "/responses", json=request("slow", f"gate={tag}", stream=True)) as answer:
        body = b""
        for data in answer.iter_raw():
            body += data
            if b'"delta":"before "' in body and b"after" not in body:
                model.open_gate(tag)
    assert text_of(checked(http, body).response) == "before after"


def test_a_silent_chunk_tells_nothing(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script((delta(), delta(content=""), delta(reasoning_content=""), *text("A", "B")), tag=tag)
    assert stream(http, "scripted", f"tag={tag}").types == [*BEGIN, *TEXT, "completed"]


def test_calls_that_all_have_index_0_are_told_apart_by_their_ids(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    steps = (*tool_call(0, "call_1", "get_weather", PARIS), *tool_call(0, "call_2", "get_weather", ROME))
    model.script((*steps, finish("tool_calls")), tag=tag)
    told = stream(http, "scripted", f"tag={tag}", tools=[WEATHER])
    assert [(call["call_id"], call["arguments"]) for call in told.response["output"]] == [
        ("call_1", PARIS),
        ("call_2", ROME),
    ]


def test_text_after_a_call_is_an_item_of_its_own(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script((*tool_call(0, "call_1", "get_weather", PARIS), *text("Calling.")), tag=tag)
    told = stream(http, "scripted", f"tag={tag}", tools=[WEATHER])
    assert [item["type"] for item in told.response["output"]] == ["function_call", "message"]


def test_thoughts_between_texts_are_items_of_their_own(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script((delta(content="A"), delta(reasoning_content="Hm"), *text("B")), tag=tag)
    told = stream(http, "scripted", f"tag={tag}")
    assert [item["type"] for item in told.response["output"]] == ["message", "reasoning", "message"]


def test_frames_have_no_ids_and_no_done_marker(http: httpx2.Client) -> None:
    body = post(http, stream=True).text
    assert "[DONE]" not in body
    assert not [line for line in body.splitlines() if line and not line.startswith(("event: response.", "data: {"))]


def test_obfuscation_can_be_declined(http: httpx2.Client) -> None:
    assert stream(http, stream_options={"include_obfuscation": False}).types[-1] == "completed"


def test_a_stream_of_many_deltas_is_whole(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script(Answer(text(*[f"{number} " for number in range(5000)])), tag=tag)
    told = stream(http, "scripted", f"tag={tag}")
    assert text_of(told.response) == "".join(f"{number} " for number in range(5000))
    assert len(told.of_type("output_text.delta")) == 5000
