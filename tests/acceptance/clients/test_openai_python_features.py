"""The official Python client where the server works by itself: in the background, with tools, over a WebSocket."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel

from harness.event_stream import check_stream
from harness.tools import mcp, script
from harness.turns import messages_for, sent
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel
from scripted_model.answers import delta, finish, text, tool_call

ADD = ("add", {"a": 2, "b": 3})


class GetWeather(BaseModel):
    """The weather now."""

    city: str


class Place(BaseModel):
    city: str
    n: int


@pytest.fixture
def client(environment):
    """As a user makes it, but refusing every answer that does not fit its types."""
    with OpenAI(max_retries=0, _strict_response_validation=True) as client:
        yield client


def test_a_stream_in_the_background_is_left_and_taken_up_again_where_it_was_left(client, model: ScriptedModel, tag):
    seen = []
    asked = {"model": "slow", "input": f"gate={tag}", "background": True, "stream": True}
    with client.responses.create(**asked) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    response_id, last = seen[0].response.id, seen[-1].sequence_number
    assert client.responses.retrieve(response_id).status == "in_progress"
    model.open_gate(tag)
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=last))
    check_stream([event.to_dict() for event in (*seen, *rest)])
    assert rest[-1].response.output_text == "before after"
    assert client.responses.retrieve(response_id) == rest[-1].response
    with client.responses.stream(response_id=response_id, starting_after=last) as stream:
        assert [event.sequence_number for event in stream] == [event.sequence_number for event in rest]
        assert stream.get_final_response().output_text == "before after"


def test_a_response_in_the_background_is_asked_for_until_it_has_ended_and_cancelled(client, model: ScriptedModel, tag):
    response = client.responses.create(model="echo", input="Hello", background=True)
    while response.status in ("queued", "in_progress"):
        response = client.responses.retrieve(response.id)
    assert response.output_text == "seen=1 last=Hello"
    hanging = client.responses.create(model="hang-mid", input=f"gate={tag} tag={tag}", background=True)
    model.wait_until_reached(tag)
    for _ in range(2):
        assert client.responses.cancel(hanging.id).status == "cancelled"
    assert model.requests(tag=tag, count=1, ended=True)[0].outcome == "disconnected"
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(response.id)


def test_a_stream_with_thoughts_a_call_and_a_typed_answer_is_put_together(client, model: ScriptedModel, tag):
    thought = (delta(reasoning_content="Weather "), delta(reasoning_content="first."))
    called = (*thought, *tool_call(0, "call_1", "GetWeather", '{"city":', '"Oslo"}'), finish("tool_calls"))
    model.script(called, text('{"city":', '"Oslo","n":1}'), tag=tag)
    told: dict[str, Any] = {
        "model": "scripted",
        "tools": [pydantic_function_tool(GetWeather)],
        "text_format": Place,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    history: list[Any] = [{"role": "user", "content": f"Where? tag={tag}"}]
    with client.responses.stream(input=history, **told) as stream:
        thoughts = [event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"]
        first = stream.get_final_response()
    assert "".join(thoughts) == first.output[0].summary[0].text == "Weather first."
    assert first.output[0].encrypted_content
    [call] = [item for item in first.output if item.type == "function_call"]
    assert call.parsed_arguments == GetWeather(city="Oslo")
    history += [item.to_dict() for item in first.output]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    with client.responses.stream(input=history, **told) as stream:
        assert stream.get_final_response().output_parsed == Place(city="Oslo", n=1)
    assert [message["role"] for message in sent(model, tag, 2)[1].body["messages"]] == ["user", "assistant", "tool"]


def test_input_is_counted_and_answers_show_their_headers(client):
    counted = client.responses.input_tokens.with_raw_response.count(model="echo", input="Hello there")
    assert counted.parse().input_tokens > 0
    assert counted.headers["x-input-tokens-estimated"] == "true"
    raw = client.responses.with_raw_response.create(model="echo", input="Hello")
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.parse().output_text == "seen=1 last=Hello"
    with client.responses.with_streaming_response.create(model="echo", input="Hello", stream=True) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert any(line.startswith("event: response.completed") for line in streamed.iter_lines())


def test_a_history_is_compacted_and_gone_on_from(environment, model: ScriptedModel, tag):
    client = OpenAI()  # its types know no user messages in a compacted output, which the hosted API gives too
    model.script(text("They like plums."))  # the model is asked for the summary without the words of the turn
    history: list[Any] = [{"role": "user", "content": "Plums."}, {"role": "assistant", "content": "Fine."}]
    question = {"role": "user", "content": f"Which fruit? tag={tag}"}
    compacted = client.responses.compact(model="scripted", input=[*history, question])
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert compacted.usage.total_tokens > 0
    again = [
        *(item.to_dict(warnings=False) for item in compacted.output),
        {"role": "user", "content": f"Go on. tag={tag}-2"},
    ]
    client.responses.create(model="echo", input=again)
    assert "They like plums." in str(messages_for(model, f"{tag}-2"))


def test_tools_of_a_server_are_run_there_once_the_user_agrees(
    client, model: ScriptedModel, mcp_server: ScriptedMcp, tag
):
    conversation = client.conversations.create().id
    asked: dict[str, Any] = {
        "model": "scripted",
        "conversation": conversation,
        "tools": [mcp(mcp_server.url(tag=tag), require_approval="always")],
    }
    with client.responses.stream(input=script(model, tag, [ADD], "It is 5."), **asked) as stream:
        first = stream.get_final_response()
    request = first.output[-1]
    assert (request.type, request.name, json.loads(request.arguments)) == ("mcp_approval_request", *ADD)
    yes: Any = [{"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}]
    with client.responses.stream(input=yes, **asked) as stream:
        kinds = [event.type for event in stream]
        second = stream.get_final_response()
    assert "response.mcp_call.completed" in kinds
    assert (second.output[0].output, second.output_text) == ("5", "It is 5.")
    kept = [item.type for item in client.conversations.items.list(conversation, order="asc")]
    assert kept == [
        "message", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "mcp_call", "message",
    ]  # fmt: skip


def test_a_chat_over_a_websocket_is_heard_by_handlers_and_outlives_an_error(client):
    words = iter(["Two", "Three"])
    texts, errors = [], []
    with client.responses.connect() as connection:

        def go_on(event) -> None:
            texts.append(event.response.output_text)
            said = next(words, None)
            if said is None:
                connection.close()
            else:
                last = event.response.id
                connection.response.create(model="echo", input=said, store=False, previous_response_id=last)

        def begin_again(event) -> None:
            errors.append(event.error.code)
            connection.response.create(model="echo", input="One", store=False)

        connection.on("response.completed", go_on)
        connection.on("error", begin_again)
        connection.response.create(model="echo", input="One", previous_response_id="resp_" + "0" * 50)
        connection.dispatch_events()
    assert errors == ["previous_response_not_found"]
    assert texts == ["seen=1 last=One", "seen=3 last=Two", "seen=5 last=Three"]


def test_a_repeated_request_under_one_key_has_one_effect(client, tag):
    header = {"Idempotency-Key": tag}
    answers = [client.responses.create(model="echo", input="Hello", extra_headers=header) for _ in range(2)]
    assert answers[0] == answers[1]
    streams = [
        list(client.responses.create(model="echo", input="Hello", stream=True, extra_headers={"Idempotency-Key": key}))
        for key in (f"{tag}-s", f"{tag}-s")
    ]
    assert streams[0][-1].response == streams[1][-1].response
    with pytest.raises(openai.BadRequestError) as reused:
        client.responses.create(model="echo", input="Other", extra_headers=header)
    assert reused.value.code == "idempotency_key_reused"
