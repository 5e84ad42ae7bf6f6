"""What the model server is asked: messages, parameters, tools, formats. It refuses whatever OpenAI would refuse."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from harness.answers import refused
from harness.server import UPSTREAM_KEY
from harness.turns import TIME, WEATHER, messages_for, post, sent, stream, turn
from scripted_model import ScriptedModel

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["city", "n"],
    "additionalProperties": False,
}
WEATHER_UPSTREAM = {"type": "function", "function": {key: value for key, value in WEATHER.items() if key != "type"}}
TIME_UPSTREAM = {"type": "function", "function": {key: value for key, value in TIME.items() if key != "type"}}
PNG = "data:image/png;base64,iVBORw0KGgo="


def asked(http: httpx2.Client, model: ScriptedModel, tag: str, **fields: Any) -> dict[str, Any]:
    """What the model server is asked beside messages; the same whether it is streamed or not."""
    turn(http, "echo", f"json tag={tag}", **fields)
    plain = sent(model, tag)[0].body
    stream(http, "echo", f"json tag={tag}", **fields)
    streamed = sent(model, tag, 2)[1].body
    assert streamed == plain | {"stream": True, "stream_options": {"include_usage": True}}
    assert plain.pop("model") == "echo"
    assert plain.pop("messages")[-1] == {"role": "user", "content": f"json tag={tag}"}
    return plain


def test_what_the_caller_leaves_out_is_left_to_the_model_server(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    assert asked(http, model, tag) == {}


@pytest.mark.parametrize(
    ("name", "value", "upstream"),
    [
        ("temperature", 0, {"temperature": 0}),
        ("temperature", 2, {"temperature": 2}),
        ("temperature", 0.7, {"temperature": 0.7}),
        ("top_p", 0.0, {"top_p": 0}),
        ("top_p", 1, {"top_p": 1}),
        ("presence_penalty", -2, {"presence_penalty": -2}),
        ("frequency_penalty", 1.5, {"frequency_penalty": 1.5}),
        ("max_output_tokens", 16, {"max_tokens": 16}),
        ("reasoning", {"effort": "low"}, {"reasoning_effort": "low"}),
        ("reasoning", {"summary": "auto"}, {}),
        ("service_tier", "flex", {"service_tier": "flex"}),
        ("service_tier", "auto", {}),
        ("user", "somebody", {"user": "somebody"}),
        ("safety_identifier", "s" * 64, {"safety_identifier": "s" * 64}),
        ("prompt_cache_key", "key", {"prompt_cache_key": "key"}),
        ("prompt_cache_retention", "24h", {"prompt_cache_retention": "24h"}),
        ("text", {"verbosity": "high"}, {"verbosity": "high"}),
        ("top_logprobs", 3, {"logprobs": True, "top_logprobs": 3}),
        ("top_logprobs", 0, {}),
        ("include", ["message.output_text.logprobs"], {"logprobs": True, "top_logprobs": 0}),
        ("include", ["reasoning.encrypted_content"], {}),
        ("text", {"format": {"type": "text"}}, {}),
        ("text", {"format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ("metadata", {"k": "v"}, {}),
        ("max_tool_calls", 1, {}),
        ("truncation", "disabled", {}),
    ],
)
def test_a_parameter_is_passed_on(
    http: httpx2.Client, model: ScriptedModel, tag: str, name: str, value: object, upstream: dict[str, object]
) -> None:
    assert asked(http, model, tag, **{name: value}) == upstream


def test_what_only_some_model_servers_know_is_passed_on_for_them_to_judge(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    options = {"mode": "implicit"}
    answer = post(http, "echo", f"tag={tag}", prompt_cache_options=options)
    assert sent(model, tag)[0].body["prompt_cache_options"] == options
    refused(answer, 400, "unknown_parameter", "prompt_cache_options")


def test_a_json_schema_is_passed_on_whole(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    schema = {"name": "city", "schema": SCHEMA, "strict": True, "description": "A city"}
    found = asked(http, model, tag, text={"format": {"type": "json_schema", **schema}})
    assert found == {"response_format": {"type": "json_schema", "json_schema": schema}}


def test_the_json_that_a_schema_asks_for_is_the_text(http: httpx2.Client) -> None:
    schema = {"type": "json_schema", "name": "city", "schema": SCHEMA}
    response = turn(http, "json", "A city as JSON", text={"format": schema})
    assert response["output"][0]["content"][0]["text"] == '{"city":"Paris","n":1}'
    assert response["text"] == {"format": schema, "verbosity": "medium"}


def test_function_tools_are_passed_on(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    found = asked(http, model, tag, tools=[WEATHER, TIME])
    assert found == {"tools": [WEATHER_UPSTREAM, TIME_UPSTREAM]}


@pytest.mark.parametrize("strict", [True, False, None])
def test_whether_a_tool_is_strict_is_passed_on(
    http: httpx2.Client, model: ScriptedModel, tag: str, strict: bool | None
) -> None:
    [tool] = asked(http, model, tag, tools=[TIME | {"strict": strict}])["tools"]
    assert tool["function"].get("strict") is strict


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_tool_choice_in_a_word_is_passed_on(http: httpx2.Client, model: ScriptedModel, tag: str, choice: str) -> None:
    assert asked(http, model, tag, tools=[WEATHER], tool_choice=choice)["tool_choice"] == choice


def test_a_chosen_function_is_passed_on(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    choice = {"type": "function", "name": "get_time"}
    found = asked(http, model, tag, tools=[WEATHER, TIME], tool_choice=choice)
    assert found["tool_choice"] == {"type": "function", "function": {"name": "get_time"}}
    assert len(found["tools"]) == 2


def test_a_chosen_function_is_the_one_that_is_called(http: httpx2.Client) -> None:
    response = turn(http, "tool", tools=[WEATHER, TIME], tool_choice={"type": "function", "name": "get_time"})
    assert response["output"][0]["name"] == "get_time"
    assert response["tool_choice"] == {"type": "function", "name": "get_time"}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_only_allowed_tools_are_offered(http: httpx2.Client, model: ScriptedModel, tag: str, mode: str) -> None:
    choice = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "get_time"}]}
    found = asked(http, model, tag, tools=[WEATHER, TIME], tool_choice=choice)
    assert found == {"tools": [TIME_UPSTREAM], "tool_choice": mode}


def test_allowed_tools_are_echoed_beside_all_tools(http: httpx2.Client) -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}
    response = turn(http, tools=[WEATHER, TIME], tool_choice=choice)
    assert response["tool_choice"] == choice
    assert [tool["name"] for tool in response["tools"]] == ["get_weather", "get_time"]


@pytest.mark.parametrize("parallel", [True, False])
def test_parallel_tool_calls_is_passed_on_with_tools(
    http: httpx2.Client, model: ScriptedModel, tag: str, parallel: bool
) -> None:
    found = asked(http, model, tag, tools=[WEATHER], parallel_tool_calls=parallel)
    assert found["parallel_tool_calls"] is parallel


@pytest.mark.parametrize("field", [{"parallel_tool_calls": False}, {"tool_choice": "auto"}, {"tool_choice": "none"}])
def test_what_concerns_tools_is_kept_back_without_tools(
    http: httpx2.Client, model: ScriptedModel, tag: str, field: dict[str, object]
) -> None:
    assert asked(http, model, tag, **field) == {}


def test_instructions_are_the_first_message(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    turn(http, "echo", f"Hello tag={tag}", instructions="Be brief.")
    assert messages_for(model, tag)[0] == {"role": "system", "content": "Be brief."}


def test_roles_reach_the_model_developer_as_system_and_at_the_beginning_as_one(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    roles = ("system", "developer", "user", "assistant", "developer", "user")
    turn(http, "echo", [{"role": role, "content": f"{role} tag={tag}"} for role in roles], instructions="Be brief.")
    head, *rest = messages_for(model, tag)
    assert head == {"role": "system", "content": f"Be brief.\n\nsystem tag={tag}\n\ndeveloper tag={tag}"}
    assert [message["role"] for message in rest] == ["user", "assistant", "system", "user"]


def test_an_answer_sent_back_without_an_id_reaches_the_model(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    turn(http, "echo", [said, {"role": "user", "content": f"tag={tag}"}])
    assert messages_for(model, tag)[0] == {"role": "assistant", "content": "Hi"}


def test_a_refusal_sent_back_reaches_the_model_as_text(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    turn(http, "echo", [said, {"role": "user", "content": f"tag={tag}"}])
    assert messages_for(model, tag)[0] == {"role": "assistant", "content": "No."}


@pytest.mark.parametrize(
    ("detail", "shown"), [({}, {}), ({"detail": "auto"}, {}), ({"detail": "high"}, {"detail": "high"})]
)
def test_an_image_reaches_the_model(
    http: httpx2.Client, model: ScriptedModel, tag: str, detail: dict[str, str], shown: dict[str, str]
) -> None:
    content = [
        {"type": "input_text", "text": f"What is this? tag={tag}"},
        {"type": "input_image", "image_url": PNG, **detail},
    ]
    turn(http, "echo", [{"role": "user", "content": content}])
    assert messages_for(model, tag)[0]["content"][1] == {"type": "image_url", "image_url": {"url": PNG, **shown}}


def test_speech_reaches_the_model(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    audio = {"data": "UklGRg==", "format": "wav"}
    content = [{"type": "input_text", "text": f"tag={tag}"}, {"type": "input_audio", "input_audio": audio}]
    turn(http, "echo", [{"role": "user", "content": content}])
    assert messages_for(model, tag)[0]["content"][1] == {"type": "input_audio", "input_audio": audio}


def test_a_calls_output_of_parts_reaches_the_model_as_text(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "get_time", "arguments": "{}"}
    parts = [{"type": "input_text", "text": "12:"}, {"type": "input_text", "text": "30"}]
    output = {"type": "function_call_output", "call_id": "c1", "output": parts}
    turn(http, "tool", [{"role": "user", "content": f"tag={tag}"}, call, output], tools=[TIME])
    assert messages_for(model, tag)[-1] == {"role": "tool", "tool_call_id": "c1", "content": "12:30"}


def test_the_model_server_is_shown_the_configured_key_and_not_the_callers(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    turn(http, "echo", f"tag={tag}")
    assert sent(model, tag)[0].header("authorization") == f"Bearer {UPSTREAM_KEY}"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_large_input_reaches_the_model_whole(
    http: httpx2.Client, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    words = f"{'word ' * 500_000}tag={tag}"
    (stream if streamed else turn)(http, "json", words)
    assert messages_for(model, tag)[0]["content"] == words


def test_reasoning_context_auto_is_what_happens_anyhow(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    assert asked(http, model, tag, reasoning={"context": "auto"}) == {}


def test_the_model_server_is_asked_once_per_turn(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    turn(http, "echo", f"tag={tag}")
    stream(http, "echo", f"tag={tag}")
    assert [one.body.get("stream", False) for one in sent(model, tag, 2)] == [False, True]
