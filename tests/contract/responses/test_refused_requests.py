"""Requests that are refused: each with its status, code and param, in one order, also where a stream was asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.conversations import create, user
from harness.turns import TIME, WEATHER, post, request, turn
from scripted_model import ScriptedModel

CONVERSATION = "conv_" + "0" * 48
RESPONSE = "resp_" + "0" * 50
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def send(http: httpx2.Client, body: dict[str, Any], streamed: bool) -> httpx2.Response:
    """Send a body as it stands, but for ``stream``."""
    return http.post("/responses", json=body | ({"stream": True} if streamed else {}))


BAD_VALUES: list[tuple[dict[str, Any], str, str]] = [
    # types
    ({"model": 7}, "invalid_type", "model"),
    ({"model": None}, "invalid_type", "model"),
    ({"input": None}, "invalid_type", "input"),
    ({"input": 7}, "invalid_type", "input"),
    ({"input": {"role": "user", "content": "x"}}, "invalid_type", "input"),
    ({"input": ["x"]}, "invalid_type", "input[0]"),
    ({"instructions": ["x"]}, "invalid_type", "instructions"),
    ({"conversation": 7}, "invalid_type", "conversation"),
    ({"conversation": {"id": 7}}, "invalid_type", "conversation.id"),
    ({"conversation": {}}, "missing_required_parameter", "conversation.id"),
    ({"previous_response_id": 7}, "invalid_type", "previous_response_id"),
    ({"store": "yes"}, "invalid_type", "store"),
    ({"stream": 1}, "invalid_type", "stream"),
    ({"include": "message.output_text.logprobs"}, "invalid_type", "include"),
    ({"tools": {}}, "invalid_type", "tools"),
    ({"temperature": "hot"}, "invalid_type", "temperature"),
    ({"temperature": True}, "invalid_type", "temperature"),
    ({"max_output_tokens": 16.5}, "invalid_type", "max_output_tokens"),
    ({"max_output_tokens": "16"}, "invalid_type", "max_output_tokens"),
    ({"metadata": []}, "invalid_type", "metadata"),
    ({"metadata": {"k": 1}}, "invalid_type", "metadata.k"),
    ({"parallel_tool_calls": "no"}, "invalid_type", "parallel_tool_calls"),
    ({"text": "json"}, "invalid_type", "text"),
    ({"reasoning": "low"}, "invalid_type", "reasoning"),
    # bounds
    ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
    ({"temperature": -0.1}, "decimal_below_min_value", "temperature"),
    ({"top_p": 1.1}, "decimal_above_max_value", "top_p"),
    ({"top_p": -1}, "decimal_below_min_value", "top_p"),
    ({"presence_penalty": 3}, "decimal_above_max_value", "presence_penalty"),
    ({"frequency_penalty": -3}, "decimal_below_min_value", "frequency_penalty"),
    ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
    ({"max_tool_calls": 0}, "integer_below_min_value", "max_tool_calls"),
    ({"top_logprobs": 21}, "integer_above_max_value", "top_logprobs"),
    ({"top_logprobs": -1}, "integer_below_min_value", "top_logprobs"),
    ({"safety_identifier": "x" * 65}, "string_above_max_length", "safety_identifier"),
    ({"metadata": {f"k{n}": "v" for n in range(17)}}, "object_above_max_properties", "metadata"),
    ({"metadata": {"k" * 65: "v"}}, "property_name_above_max_length", "metadata." + "k" * 65),
    ({"metadata": {"k": "v" * 513}}, "string_above_max_length", "metadata.k"),
    # values
    ({"include": ["everything"]}, "invalid_value", "include"),
    ({"truncation": "maybe"}, "invalid_value", "truncation"),
    ({"service_tier": "gold"}, "invalid_value", "service_tier"),
    ({"tool_choice": "maybe"}, "invalid_value", "tool_choice"),
    ({"tool_choice": {"type": "maybe"}}, "invalid_value", "tool_choice"),
    ({"tool_choice": {"type": "function"}}, "missing_required_parameter", "tool_choice.name"),
    ({"reasoning": {"effort": "huge"}}, "invalid_value", "reasoning.effort"),
    ({"text": {"verbosity": "huge"}}, "invalid_value", "text.verbosity"),
    ({"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "missing_required_parameter", "text.format.schema"),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "missing_required_parameter", "text.format.name"),
    ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, "invalid_value", "text.format.name"),
    ({"tools": [{"type": "magic"}]}, "invalid_value", "tools[0]"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].name"),
    ({"tools": [{"name": "f"}]}, "missing_required_parameter", "tools[0].type"),
    ({"tools": [WEATHER, {"type": "function", "name": "a b"}]}, "invalid_value", "tools[1].name"),
    ({"tools": [WEATHER, WEATHER]}, "invalid_value", "tools[1].name"),
    ({"tool_choice": {"type": "function", "name": "f"}}, "invalid_value", "tool_choice"),
    ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
    ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "invalid_value", "tool_choice"),
    ({"tool_choice": {"type": "custom", "name": "f"}}, "invalid_value", "tool_choice"),
    ({"tools": [{"type": "custom"}]}, "missing_required_parameter", "tools[0].name"),
    ({"tools": [{"type": "mcp"}]}, "missing_required_parameter", "tools[0].server_label"),
    ({"context_management": []}, "array_below_min_length", "context_management"),
    ({"background": "yes"}, "invalid_type", "background"),
    ({"input": [{"role": "king", "content": "x"}]}, "invalid_value", "input[0]"),
    ({"input": [user("x"), {"type": "magic"}]}, "invalid_value", "input[1]"),
    ({"input": [{"type": "message", "content": "x"}]}, "missing_required_parameter", "input[0].role"),
    ({"input": [{"type": "message", "role": "user"}]}, "missing_required_parameter", "input[0].content"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "missing_required_parameter",
     "input[0].content[0].text"),
    ({"input": [{"role": "user", "content": [{"type": "magic"}]}]}, "invalid_value", "input[0].content[0]"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "missing_required_parameter", "input[0].call_id"),
    ({"input": [{"role": "user", "content": "x", "id": "a b"}]}, "invalid_value", "input[0].id"),
    ({"input": [{"type": "reasoning", "summary": []}]}, "invalid_item", "item"),
    ({"input": [user("x"), {"type": "compaction_trigger"}]}, "invalid_value", "input[1]"),
    ({"conversation": "nonsense"}, "invalid_value", "conversation"),
    ({"conversation": {"id": "resp_1"}}, "invalid_value", "conversation"),
    # nothing to answer
    ({"input": ""}, "missing_required_parameter", "input"),
    ({"input": []}, "missing_required_parameter", "input"),
    # unknown keys
    ({"max_tokens": 5}, "unknown_parameter", "max_tokens"),
    ({"messages": []}, "unknown_parameter", "messages"),
    ({"reasoning": {"depth": 1}}, "unknown_parameter", "reasoning.depth"),
    ({"text": {"style": "x"}}, "unknown_parameter", "text.style"),
]  # fmt: skip


@STREAMED
@pytest.mark.parametrize(("fields", "code", "param"), BAD_VALUES, ids=lambda value: str(value)[:50])
def test_a_bad_value_is_refused_by_its_path(
    http: httpx2.Client, fields: dict[str, Any], code: str, param: str, streamed: bool
) -> None:
    body = request() | fields
    refused(http.post("/responses", json={"stream": streamed} | body), 400, code, param)


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"moderation": {"model": "m"}}, "moderation"),
    ({"reasoning": {"mode": "deep"}}, "reasoning.mode"),
    ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
    ({"reasoning": {"context": "current_turn"}}, "reasoning.context"),
    *(
        ({"tools": [WEATHER, {"type": kind}]}, "tools[1]")
        for kind in (
            "apply_patch", "code_interpreter", "computer", "computer_use_preview", "file_search",
            "image_generation", "local_shell", "shell", "web_search", "web_search_preview",
        )
    ),
    ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "shell"}]}},
        "tool_choice.tools[0]",
    ),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]}, "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]}, "input"),
]  # fmt: skip


@STREAMED
@pytest.mark.parametrize(("fields", "param"), UNSUPPORTED, ids=lambda value: str(value)[:50])
def test_what_is_not_built_is_refused_by_name_and_never_ignored(
    http: httpx2.Client, fields: dict[str, Any], param: str, streamed: bool
) -> None:
    refused(send(http, request() | fields, streamed), 400, "unsupported_parameter", param)


def test_stream_options_without_a_stream_are_refused(http: httpx2.Client) -> None:
    refused(post(http, stream_options={"include_obfuscation": False}), 400, "invalid_value", "stream_options")


def test_unsupported_content_of_a_conversation_is_refused_without_leaving_a_lock(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http, [user([{"type": "input_file", "file_id": "file_1"}])])
    for _ in range(2):
        answer = post(http, "echo", f"tag={tag}", conversation=conversation_id)
        refused(answer, 400, "unsupported_parameter", "input")
    assert model.requests(tag=tag) == []


ORDER: list[tuple[dict[str, Any], int, str | None, str | None]] = [
    ({"nonsense": 1, "temperature": 9}, 400, "missing_required_parameter", "model"),
    ({"model": "no-such", "nonsense": 1}, 400, "missing_required_parameter", "input"),
    (request("no-such", nonsense=1, temperature=9), 400, "unknown_parameter", "nonsense"),
    (request("no-such", temperature=9, conversation=CONVERSATION, previous_response_id=RESPONSE), 400,
     "decimal_above_max_value", "temperature"),
    (request("no-such", "", conversation=CONVERSATION, previous_response_id=RESPONSE), 400,
     "mutually_exclusive_parameters", None),
    (request("no-such", "", conversation="nonsense"), 400, "invalid_value", "conversation"),
    (request("no-such", "", conversation=CONVERSATION), 404, None, None),
    (request("no-such", "", previous_response_id=RESPONSE), 400, "previous_response_not_found",
     "previous_response_id"),
    (request("no-such", ""), 400, "missing_required_parameter", "input"),
    (request("no-such"), 400, "model_not_found", "model"),
]  # fmt: skip


@STREAMED
@pytest.mark.parametrize(("body", "status", "code", "param"), ORDER, ids=lambda value: str(value)[:60])
def test_of_several_faults_the_first_in_the_apis_order_is_told(
    http: httpx2.Client, body: dict[str, Any], status: int, code: str | None, param: str | None, streamed: bool
) -> None:
    refused(send(http, body, streamed), status, code, param)


@STREAMED
@pytest.mark.parametrize("form", [CONVERSATION, {"id": CONVERSATION}], ids=["id", "object"])
def test_an_unknown_conversation_is_not_found(http: httpx2.Client, form: object, streamed: bool) -> None:
    message = refused(send(http, request(conversation=form), streamed), 404)
    assert message == f"Conversation with id '{CONVERSATION}' not found."


@STREAMED
def test_a_deleted_conversation_is_not_found(http: httpx2.Client, streamed: bool) -> None:
    conversation_id = create(http)
    ok(http.delete(f"/conversations/{conversation_id}"))
    refused(send(http, request(conversation=conversation_id), streamed), 404)


@STREAMED
@pytest.mark.parametrize("name", ["no-such-model", "", "scripted/", "scripted/no-such", "/echo", "echo/", "ECHO"])
def test_an_unknown_model_is_refused(http: httpx2.Client, name: str, streamed: bool) -> None:
    message = refused(send(http, request(name), streamed), 400, "model_not_found", "model")
    assert message == f"The requested model '{name}' does not exist."


@STREAMED
def test_an_ambiguous_model_is_refused_and_the_choices_are_named(varied: httpx2.Client, streamed: bool) -> None:
    message = refused(send(varied, request("hang"), streamed), 400, "model_not_found", "model")
    assert message == "The model 'hang' is served by several providers: name one of hasty/hang, scripted/hang."


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"model": "echo", "input": "\xff"}', b'{"model": "echo", "input": NaN}']
)
def test_a_body_that_is_no_json_is_refused(http: httpx2.Client, body: bytes) -> None:
    answer = http.post("/responses", content=body, headers={"content-type": "application/json"})
    refused(answer, 400, "invalid_json")


@pytest.mark.parametrize("body", [[], "x", 7, None])
def test_a_body_that_is_no_object_is_refused(http: httpx2.Client, body: object) -> None:
    answer = http.post("/responses", json=body) if body is not None else http.post("/responses", content=b"null")
    refused(answer, 400, "invalid_type")


@STREAMED
def test_a_turn_that_would_tell_the_model_nothing_is_refused_before_it_is_asked(
    http: httpx2.Client, streamed: bool
) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    for fields in ({"conversation": create(http), "input": []}, {"input": [thought]}):
        message = refused(send(http, {"model": "status-500", **fields}, streamed), 400, None, "input")
        assert message.startswith("There is nothing to tell the model")
    ok(http.post("/responses", json={"model": "echo", "conversation": create(http), "input": [], "instructions": "Hi"}))


def test_a_refused_turn_leaves_no_response(http: httpx2.Client) -> None:
    newest = turn(http)["id"]
    for fields in ({"temperature": 9}, {"conversation": CONVERSATION}, {"previous_response_id": RESPONSE}):
        assert post(http, **fields).status_code >= 400
    assert post(http, "no-such").status_code == 400
    assert ok(http.get("/responses", params={"limit": 1}))["data"][0]["id"] == newest


def test_a_refused_turn_leaves_the_connection_usable(http: httpx2.Client) -> None:
    for streamed in (False, True):
        refused(send(http, request("no-such"), streamed), 400, "model_not_found", "model")
        turn(http)


@STREAMED
def test_a_turn_too_many_is_refused_before_anything_is_stored(
    new_server: Any, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    server = new_server(server={"port": 0, "limits": {"max_concurrent_turns": 1}}).start()
    with server.http() as http, ThreadPoolExecutor(1) as pool:
        conversation_id = create(http)
        running = pool.submit(post, http, "slow", f"gate={tag}")
        model.wait_until_reached(tag)
        answer = send(http, request(conversation=conversation_id), streamed)
        refused(answer, 503, "server_error", None, "server_error")
        assert answer.headers["retry-after"] == "1"
        assert len(ok(http.get("/responses"))["data"]) == 1
        model.open_gate(tag)
        ok(running.result())
        turn(http, conversation=conversation_id)


def test_a_method_that_is_not_there_is_refused(http: httpx2.Client) -> None:
    refused(http.put("/responses", json=request()), 405)
    refused(http.post("/responses/resp_1", json={}), 405)


def test_a_route_that_is_not_there_is_not_found(http: httpx2.Client) -> None:
    response_id = turn(http)["id"]
    refused(http.post(f"/responses/{response_id}/nonsense"), 404)


def test_the_client_raises_the_error_that_fits(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="echo", input="Hello", conversation=CONVERSATION)
    assert (missing.value.code, missing.value.param, missing.value.type) == (None, None, "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as unknown:
        client.responses.create(model="no-such", input="Hello", stream=True)
    assert unknown.value.code == "model_not_found"
    assert unknown.value.request_id is not None


def test_allowed_tools_that_the_turn_does_not_have_are_refused(http: httpx2.Client) -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}
    refused(post(http, tools=[WEATHER], tool_choice=choice), 400, "invalid_value", "tool_choice")
    turn(http, tools=[WEATHER, TIME], tool_choice=choice)
