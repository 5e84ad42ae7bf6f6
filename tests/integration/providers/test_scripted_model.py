"""The scripted model server is as strict as the real one, or it would prove little."""

from __future__ import annotations

import json
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from controlled_process import NotInTime
from scripted_model import Answer, ScriptedModel
from scripted_model.answers import text

USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
OUTPUT = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def ask(server: ScriptedModel, body: object) -> dict[str, object]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(f"{server.base_url}/chat/completions", data, {"Content-Type": "application/json"})
    with build_opener(ProxyHandler({})).open(request, timeout=20) as response:
        return json.load(response)


def refusal(server: ScriptedModel, body: object) -> dict[str, object]:
    with pytest.raises(HTTPError) as caught:
        ask(server, body)
    with caught.value as error:
        assert error.code == 400
        return json.load(error)["error"]


def asking(*messages: object, **more: object) -> dict[str, object]:
    return {"model": "echo", "messages": list(messages), **more}


@pytest.mark.parametrize(
    "body",
    [
        asking(USER),
        asking(
            {"role": "system", "content": "s"}, {"role": "developer", "content": [{"type": "text", "text": "d"}]}, USER
        ),
        asking({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}),
        asking(USER, {"role": "assistant", "content": "a"}, USER),
        asking(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, USER),
        asking(USER, CALLING, OUTPUT),
        asking(USER, CALLING, OUTPUT, USER, CALLING, OUTPUT),
        asking(USER, {**CALLING, "content": "Let me see."}, OUTPUT),
        asking(
            USER, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}}, parallel_tool_calls=False
        ),
        asking(
            USER, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}
        ),
        asking({"role": "user", "content": "as JSON"}, response_format={"type": "json_object"}),
        asking(USER, temperature=1, top_p=0.5, max_completion_tokens=5, logprobs=True, top_logprobs=3, seed=1),
        asking(USER, reasoning_effort="low", verbosity="high", service_tier="auto", prompt_cache_key="k", user="u"),
    ],
)
def test_what_the_real_one_takes_is_taken(model_server: ScriptedModel, body: object) -> None:
    assert ask(model_server, body)["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        ([], ""),
        ({"messages": [USER]}, "model"),
        ({"model": "echo"}, "messages"),
        (asking(), "messages"),
        (asking({"role": "robot", "content": "x"}), "messages[0]"),
        (asking({"role": "user"}), "messages[0].content"),
        (asking({"role": "user", "content": None}), "messages[0].content"),
        (asking({"role": "user", "content": []}), "messages[0].content"),
        (asking({"role": "user", "content": [{"type": "input_text", "text": "x"}]}), "messages[0].content"),
        (asking({"role": "user", "content": "x", "id": "msg_1"}), "messages[0].id"),
        (asking(USER, {"type": "reasoning", "summary": []}), "messages[1]"),
        (asking(USER, {"role": "assistant", "content": None}), "messages.[1].content"),
        (
            asking(USER, {"role": "assistant", "content": "x", "reasoning_content": "y"}),
            "messages[1].reasoning_content",
        ),
        (asking(USER, {"role": "assistant", "content": "x", "tool_calls": []}), "messages[1].tool_calls"),
        (asking(USER, OUTPUT), "messages.[1].role"),
        (asking(USER, CALLING), "messages.[2].role"),
        (asking(USER, CALLING, USER), "messages.[2].role"),
        (asking(USER, CALLING, {**OUTPUT, "tool_call_id": "call_2"}), "messages.[2].role"),
        (asking(USER, CALLING, OUTPUT, OUTPUT), "messages.[3].role"),
        (asking(USER, {**CALLING, "tool_calls": [CALL, CALL]}, OUTPUT), "messages.[1].tool_calls"),
        (asking(USER, {**CALLING, "tool_calls": [{**CALL, "id": ""}]}, OUTPUT), "messages[1].tool_calls[0].id"),
        (asking(USER, stream_options={"include_usage": True}), "stream_options"),
        (asking(USER, tools=[]), "tools"),
        (asking(USER, tools=None), "tools"),
        (asking(USER, tools=[{"type": "function", "name": "f"}]), "tools[0].function"),
        (asking(USER, tool_choice="auto"), "tool_choice"),
        (asking(USER, parallel_tool_calls=True), "parallel_tool_calls"),
        (asking(USER, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}), "tool_choice"),
        (asking(USER, response_format={"type": "json_object"}), "messages"),
        (asking(USER, temperature=3), "temperature"),
        (asking(USER, top_logprobs=3), "top_logprobs"),
        (asking(USER, max_tokens=1, max_completion_tokens=1), "max_tokens"),
        (asking(USER, metadata={"a": "b"}), "metadata"),
        (asking(USER, conversation="conv_1"), "conversation"),
        (asking(USER, stream="yes"), "stream"),
    ],
)
def test_what_the_real_one_refuses_is_refused(model_server: ScriptedModel, body: object, param: str | None) -> None:
    error = refusal(model_server, body)
    assert error.keys() == {"message", "type", "param", "code"}
    assert str(error["param"] or "").startswith(param or "")


def test_an_unknown_model_is_not_found(model_server: ScriptedModel) -> None:
    with pytest.raises(HTTPError) as caught:
        ask(model_server, {"model": "nobody", "messages": [USER]})
    with caught.value as error:
        assert (error.code, json.load(error)["error"]["code"]) == (404, "model_not_found")


def test_requests_are_logged_with_body_headers_and_outcome(model_server: ScriptedModel, tag: str) -> None:
    body = asking({"role": "user", "content": f"tag={tag}"})
    ask(model_server, body)
    [request] = model_server.requests(tag=tag, ended=True)
    assert (request.body, request.model, request.status, request.outcome) == (body, "echo", 200, "complete")
    assert request.header("content-type") == "application/json"


def test_refused_requests_are_logged_too(model_server: ScriptedModel, tag: str) -> None:
    refusal(model_server, asking({"role": "user", "content": f"tag={tag}"}, nonsense=1))
    [request] = model_server.requests(tag=tag, model="echo")
    assert request.status == 400


def test_scripted_answers_are_given_in_order_to_their_tag_alone(model_server: ScriptedModel, tag: str) -> None:
    model_server.script(text("one"), Answer(status=500, body="{}"), text("three"), tag=tag)
    body = {"model": "scripted", "messages": [{"role": "user", "content": f"tag={tag}"}]}
    assert ask(model_server, body)["choices"][0]["message"]["content"] == "one"
    with pytest.raises(HTTPError) as other:
        ask(model_server, {"model": "scripted", "messages": [{"role": "user", "content": f"tag={tag}-other"}]})
    with other.value as error:
        assert "Nothing is scripted" in error.read().decode()
    with pytest.raises(HTTPError) as second:
        ask(model_server, body)
    second.value.close()
    assert ask(model_server, body)["choices"][0]["message"]["content"] == "three"


def test_waiting_for_what_does_not_happen_ends_with_an_error(model_server: ScriptedModel, tag: str) -> None:
    with pytest.raises(NotInTime):
        model_server.call("GET", f"/control/requests?tag={tag}&count=1&timeout=0.05")
    with pytest.raises(NotInTime):
        model_server.call("GET", f"/control/gates/{tag}/reached?timeout=0.05")


def test_a_slow_answer_needs_a_gate(model_server: ScriptedModel) -> None:
    assert "gate=" in str(refusal(model_server, {"model": "slow", "messages": [USER]})["message"])


@pytest.mark.parametrize(
    "body",
    [
        {"input": "Hi"},
        {"input": "Hi", "store": True},
        {"input": "Hi", "store": False, "previous_response_id": "resp_1"},
        {"input": [{"type": "telepathy"}], "store": False},
        {"input": [{"role": "user", "content": "Hi", "id": "msg_unknown"}], "store": False},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}], "store": False},
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}], "store": False},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}], "store": False},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}], "store": False},
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}], "store": False},
    ],
)
def test_responses_are_refused_as_a_server_that_keeps_nothing_refuses_them(
    model_server: ScriptedModel, body: dict[str, object]
) -> None:
    data = json.dumps({"model": "echo", **body}).encode()
    request = Request(f"{model_server.base_url}/responses", data, {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as caught, build_opener(ProxyHandler({})).open(request, timeout=20):
        pass
    with caught.value as error:
        assert error.code == 400
