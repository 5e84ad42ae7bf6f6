"""Turns over a model server that speaks the Responses API: our state in front, nothing kept behind, nothing lost."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, ids_of, items_of, user
from harness.turns import TIME, WEATHER, input_items, post, sent, stream, text_of, turn
from scripted_model import LoggedRequest, ScriptedModel
from scripted_model.modes import PARIS
from scripted_model.responses_modes import CITATION, SEARCHED, SUMMARY

SEARCH = {"type": "web_search"}
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def take(http: httpx2.Client, streamed: bool, model: str, said: Any, **fields: object) -> dict[str, Any]:
    """A turn, either way; the answer is upstream's model of that name."""
    model = f"upstream/{model}"
    return stream(http, model, said, **fields).response if streamed else turn(http, model, said, **fields)


def output(call_id: str, said: str = "22 degrees") -> dict[str, str]:
    return {"type": "function_call_output", "call_id": call_id, "output": said}


def input_text(request: LoggedRequest) -> str:
    """The input of a request as it was written, without the end of its array."""
    start = request.raw.index('"input":') + len('"input":')
    _, end = json.JSONDecoder().raw_decode(request.raw, start)
    return request.raw[start : end - 1]


@BOTH_WAYS
def test_a_text_comes_under_the_upstreams_own_item_id(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    response = take(http, streamed, "echo", f"Hello tag={tag}", instructions="Be brief.", temperature=0.5)
    assert text_of(response) == f"seen=1 last=Hello tag={tag}"
    assert response["id"].startswith("resp_")
    assert not response["id"].startswith("resp_up")
    assert response["output"][0]["id"].startswith("msg_up")
    assert response["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 16,
    }
    [request] = sent(model, tag)
    assert request.path == "/v1/responses"
    assert request.body["store"] is False
    assert (request.body["instructions"], request.body["temperature"]) == ("Be brief.", 0.5)
    assert request.body.get("stream", False) is streamed


def test_the_events_of_a_text_are_the_upstreams_without_its_padding(http: httpx2.Client) -> None:
    quiet = stream(http, "upstream/echo", "Hello", stream_options={"include_obfuscation": False})
    padded = stream(http, "upstream/echo", "Hello", stream_options={"include_obfuscation": True})
    assert [event["delta"] for event in quiet.of_type("output_text.delta")] == ["seen=1 ", "last=Hello"]
    assert not [event for event in quiet.events if "obfuscation" in event]
    assert "Xq7" not in [event["obfuscation"] for event in padded.of_type("output_text.delta")]
    assert quiet.types == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


@BOTH_WAYS
@pytest.mark.parametrize("kept_in", ["conversation", "chain"])
@pytest.mark.parametrize("mode", ["echo", "tool", "reasoning", "reasoning-tool", "hosted", "refusal", "length"])
def test_every_turn_tells_the_whole_history_which_begins_as_the_turn_before_told_it(
    http: httpx2.Client, model: ScriptedModel, tag: str, mode: str, kept_in: str, streamed: bool
) -> None:
    conversation_id = create(http, [{"role": "system", "content": "Be brief."}, user(f"Begin tag={tag}")])
    fields: dict[str, Any] = {"conversation": conversation_id}
    said: list[Any] = []
    response: dict[str, Any] = {"output": []}
    for number in range(3):
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        said = [output(call["call_id"]) for call in calls] or [user(f"{number} é tag={tag}")]
        tools = [WEATHER, SEARCH] if mode == "hosted" else [WEATHER]
        response = take(http, streamed, mode, said, tools=tools, reasoning={"effort": "low"}, **fields)
        if kept_in == "chain":
            fields = {"previous_response_id": response["id"]}
    requests = sent(model, tag, 3)
    for before, after in pairwise(requests):
        assert input_text(after).startswith(f"{input_text(before)},")
    assert len(requests[2].body["input"]) >= 7
    assert all(request.body["store"] is False for request in requests)


@BOTH_WAYS
def test_parallel_calls_and_their_outputs(http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool) -> None:
    conversation_id = create(http)
    fields: dict[str, Any] = {"conversation": conversation_id, "tools": [WEATHER, TIME]}
    calls = take(http, streamed, "parallel-tools", f"Both? tag={tag}", **fields)["output"]
    assert [(call["call_id"], call["name"]) for call in calls] == [
        ("call_paris", "get_weather"),
        ("call_rome", "get_time"),
    ]
    assert calls[0]["arguments"] == PARIS
    assert all(call["id"].startswith("fc_up") for call in calls)
    answer = take(
        http, streamed, "parallel-tools", [output("call_paris", "sun"), output("call_rome", "noon")], **fields
    )
    assert text_of(answer) == "The tools said: sun | noon"
    told = sent(model, tag, 2)[1].body["input"]
    assert [item["type"] for item in told] == ["message", *["function_call"] * 2, *["function_call_output"] * 2]
    assert not [item for item in told if "id" in item]


def test_unpaired_calls_are_refused_before_the_upstream_is_asked(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    fields: dict[str, Any] = {"conversation": conversation_id, "tools": [WEATHER]}
    turn(http, "upstream/tool", "Weather?", **fields)
    answer = post(http, "upstream/tool", f"Well? tag={tag}", stream=True, **fields)
    assert refused(answer, 400, None, "input") == "No tool output found for function call call_paris."
    answer = post(http, "upstream/tool", [output("call_paris"), output("call_x"), user(f"tag={tag}")], **fields)
    assert refused(answer, 400, None, "input").endswith("function call output with call_id call_x.")
    assert model.requests(tag=tag) == []
    assert text_of(turn(http, "upstream/tool", [output("call_paris")], **fields)) == "The tools said: 22 degrees"


@BOTH_WAYS
def test_encrypted_reasoning_comes_back_to_the_upstream_in_the_next_turn(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    fields: dict[str, Any] = {"conversation": create(http), "include": ["reasoning.encrypted_content"]}
    thought, answer = take(http, streamed, "reasoning", f"What? tag={tag}", **fields)["output"]
    assert thought["type"] == "reasoning"
    assert thought["id"].startswith("rs_up")
    assert thought["encrypted_content"].startswith("enc-")
    assert thought["summary"] == [{"type": "summary_text", "text": SUMMARY}]
    assert answer["content"][0]["text"] == "42"
    take(http, streamed, "reasoning", f"Sure? tag={tag}", **fields)
    assert sent(model, tag, 2)[1].body["input"][1] == thought


def test_reasoning_that_was_asked_for_is_made_to_be_continued(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    first = turn(http, "upstream/reasoning", f"What? tag={tag}", reasoning={"effort": "low"})
    turn(http, "upstream/reasoning", f"Sure? tag={tag}", previous_response_id=first["id"])
    requests = sent(model, tag, 2)
    assert requests[0].body["include"] == ["reasoning.encrypted_content"]
    assert [item["type"] for item in requests[1].body["input"]] == ["message", "reasoning", "message", "message"]


def test_thoughts_that_the_upstream_cannot_open_are_not_told(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    turn(http, "upstream/reasoning", f"What? tag={tag}", conversation=conversation_id)
    ours: list[Any] = ["reasoning.encrypted_content"]
    turn(http, "chatty/reasoning", "Really?", conversation=conversation_id, include=ours)
    turn(http, "upstream/echo", f"Sure? tag={tag}", conversation=conversation_id)
    assert [item["type"] for item in items_of(http, conversation_id)].count("reasoning") == 2
    assert {item["type"] for item in sent(model, tag, 2)[1].body["input"]} == {"message"}


@BOTH_WAYS
def test_hosted_tools_pass_and_their_items_are_kept_whole(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    conversation_id = create(http)
    tool = {"type": "web_search", "user_location": {"type": "approximate", "city": "Paris"}}
    fields: dict[str, Any] = {"conversation": conversation_id, "tools": [tool], "tool_choice": "required"}
    response = take(http, streamed, "hosted", f"Weather? tag={tag}", **fields)
    search, answer = response["output"]
    assert search["action"]["sources"] == [{"type": "url", "url": CITATION["url"]}]
    assert search["id"].startswith("ws_up")
    assert answer["content"][0]["text"] == SEARCHED
    assert answer["content"][0]["annotations"] == [CITATION]
    assert items_of(http, conversation_id)[1:] == [search, answer]
    assert response["tools"] == [tool]
    take(http, streamed, "hosted", f"And now? tag={tag}", conversation=conversation_id)
    first, second = sent(model, tag, 2)
    assert (first.body["tools"], first.body["tool_choice"]) == ([tool], "required")
    assert second.body["input"][1] == search
    assert second.body["input"][2]["content"] == answer["content"]


def test_a_hosted_search_streams_its_stages_and_annotations(http: httpx2.Client) -> None:
    events = stream(http, "upstream/hosted", "Weather?", tools=[SEARCH])
    stages = [kind for kind in events.types if kind.startswith("web_search_call")]
    assert stages == [f"web_search_call.{stage}" for stage in ("in_progress", "searching", "completed")]
    [annotated] = events.of_type("output_text.annotation.added")
    assert annotated["annotation"] == CITATION


@BOTH_WAYS
def test_whatever_the_upstream_hosts_is_shown_kept_and_told_again(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    fields: dict[str, Any] = {
        "conversation": create(http),
        "tools": [
            {"type": "file_search", "vector_store_ids": ["vs_1"]},
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "image_generation", "partial_images": 2},
        ],
        "include": ["file_search_call.results", "code_interpreter_call.outputs"],
    }
    response = take(http, streamed, "all-hosted", f"Go. tag={tag}", **fields)
    *hosted, message = response["output"]
    assert [item["type"] for item in hosted] == ["file_search_call", "code_interpreter_call", "image_generation_call"]
    assert hosted[0]["results"]
    assert hosted[1]["outputs"]
    assert response["tools"] == fields["tools"]
    take(http, streamed, "echo", f"And? tag={tag}", **fields)
    first, second = sent(model, tag, 2)
    assert (first.body["tools"], first.body["include"]) == (fields["tools"], fields["include"])
    assert second.body["input"][1:4] == hosted
    assert second.body["input"][4]["content"] == message["content"]


def test_the_events_of_hosted_tools_are_the_upstreams(http: httpx2.Client) -> None:
    kinds = stream(http, "upstream/all-hosted", "Go.").types
    assert [kind for kind in kinds if "_call" in kind] == [
        *(f"file_search_call.{stage}" for stage in ("in_progress", "searching", "completed")),
        "code_interpreter_call.in_progress",
        *["code_interpreter_call_code.delta"] * 2,
        "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting",
        "code_interpreter_call.completed",
        "image_generation_call.in_progress",
        "image_generation_call.generating",
        *["image_generation_call.partial_image"] * 2,
        "image_generation_call.completed",
    ]


def test_the_phase_of_an_assistants_message_is_kept_and_told(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    said = {"role": "assistant", "content": "I look.", "phase": "commentary"}
    first = turn(http, "upstream/echo", [user("Look."), said, user("And?")])
    assert input_items(http, first["id"])[1]["phase"] == "commentary"
    turn(http, "upstream/echo", f"tag={tag}", previous_response_id=first["id"])
    told = sent(model, tag)[0].body["input"]
    assert [item.get("phase") for item in told] == [None, "commentary", None, None, None]


def test_input_is_counted_by_a_model_server_that_can_and_the_answer_is_no_estimate(http: httpx2.Client) -> None:
    for said, tokens in (("Hello", 1), ("Hello there", 2)):
        answer = http.post("/responses/input_tokens", json={"model": "counting/echo", "input": said})
        assert ok(answer) == {"object": "response.input_tokens", "input_tokens": tokens}
        assert "x-input-tokens-estimated" not in answer.headers


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("tools[0]", {"tools": [SEARCH]}),
        ("tool_choice", {"tools": [WEATHER], "tool_choice": {"type": "web_search_preview"}}),
        (
            "tools[0].format",
            {
                "tools": [
                    {
                        "type": "custom",
                        "name": "run",
                        "format": {"type": "grammar", "syntax": "regex", "definition": ".*"},
                    }
                ]
            },
        ),
    ],
)
def test_what_only_the_upstream_can_do_is_refused_where_it_is_asked_in_chat_completions(
    http: httpx2.Client, param: str, fields: dict[str, Any]
) -> None:
    refused(post(http, "chatty/reasoning", "Hi", **fields), 400, "unsupported_parameter", param)
    assert ok(post(http, "upstream/echo", "Hi", **fields))["status"] == "completed"


@BOTH_WAYS
def test_custom_tools_with_grammars_go_and_come_as_they_are(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    tool = {"type": "custom", "name": "run", "format": {"type": "grammar", "syntax": "regex", "definition": ".*"}}
    first = take(http, streamed, "custom", f"Run! tag={tag}", tools=[tool])
    [call] = first["output"]
    assert (call["type"], call["input"]) == ("custom_tool_call", "print(1)")
    said = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "1"}
    second = take(http, streamed, "custom", [said], tools=[tool], previous_response_id=first["id"])
    assert text_of(second) == "The tools said: 1"
    assert sent(model, tag, 2)[0].body["tools"] == [tool]


@BOTH_WAYS
def test_refusals_stay_refusals(http: httpx2.Client, streamed: bool) -> None:
    [message] = take(http, streamed, "refusal", "Do it")["output"]
    assert message["content"] == [{"type": "refusal", "refusal": "I'm sorry, I can't help with that."}]


@BOTH_WAYS
@pytest.mark.parametrize(("mode", "reason"), [("length", "max_output_tokens"), ("content-filter", "content_filter")])
def test_incomplete_responses_are_incomplete_and_kept(
    http: httpx2.Client, mode: str, reason: str, streamed: bool
) -> None:
    conversation_id = create(http)
    response = take(http, streamed, mode, "Tell", conversation=conversation_id)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": reason}
    assert response["output"][0]["status"] == "incomplete"
    assert items_of(http, conversation_id)[1:] == response["output"]
    take(http, streamed, "echo", "And?", conversation=conversation_id)


@BOTH_WAYS
def test_items_without_an_id_get_one_of_ours(http: httpx2.Client, streamed: bool) -> None:
    conversation_id = create(http)
    response = take(http, streamed, "no-ids", "What?", conversation=conversation_id)
    thought, message = response["output"]
    token = conversation_id.removeprefix("conv_")[:8]
    assert thought["id"].startswith(f"rs_{token}")
    assert message["id"].startswith(f"msg_{token}")
    assert ids_of(items_of(http, conversation_id)[1:]) == [thought["id"], message["id"]]


@BOTH_WAYS
def test_ids_that_cannot_be_kept_are_replaced(http: httpx2.Client, streamed: bool) -> None:
    conversation_id = create(http)
    first = take(http, streamed, "odd-ids", "One", conversation=conversation_id)
    second = take(http, streamed, "odd-ids", "Two", conversation=conversation_id)
    assert first["output"][0]["id"] == "msg_same"
    assert "msg_same" not in ids_of(second["output"])
    ids = ids_of(items_of(http, conversation_id))
    assert len(set(ids)) == len(ids) == 8
    assert all(item_id.startswith("msg_") and len(item_id) <= 64 for item_id in ids)
    assert ids_of(input_items(http, second["id"])) == [*ids[:5]]


def test_items_that_only_the_last_event_shows_are_taken_from_it(http: httpx2.Client) -> None:
    response = ok(http.get(f"/responses/{_last_of_terminal_only(http)}"))
    assert text_of(response) == "All said."


def _last_of_terminal_only(http: httpx2.Client) -> str:
    answer = post(http, "upstream/terminal-only", "Go", stream=True)
    last = json.loads(answer.text.strip().rpartition("data: ")[2])
    assert last["type"] == "response.completed"
    response_id: str = last["response"]["id"]
    return response_id


def test_parameters_that_both_know_go_as_they_came(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    fields: dict[str, Any] = {
        "max_output_tokens": 99,
        "max_tool_calls": 3,
        "top_p": 0.5,
        "truncation": "auto",
        "reasoning": {"effort": "low", "summary": "auto", "context": "all_turns", "mode": "pro"},
        "text": {"verbosity": "low", "format": {"type": "json_object"}},
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "flex",
    }
    turn(http, "upstream/echo", f"json tag={tag}", **fields, metadata={"a": "b"})
    body = sent(model, tag)[0].body
    assert {name: body[name] for name in fields} == fields
    assert "metadata" not in body
