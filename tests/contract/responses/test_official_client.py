"""The official client as it comes: synchronous and not, plain, streamed, by its helpers, and refusing bad types."""

from __future__ import annotations

from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from openai.types.responses import Response, ResponseCompletedEvent, ResponseFunctionToolCall
from pydantic import BaseModel

from harness.event_stream import check_stream
from harness.turns import TIME, WEATHER
from scripted_model import ScriptedModel
from scripted_model.modes import PARIS, ROME

WHOLE = [
    "echo", "tool", "parallel-tools", "text-and-tool", "reasoning-tool", "tool-no-id", "tool-whole",
    "tool-bad-arguments", "reasoning", "refusal", "json", "empty", "unicode", "logprobs", "no-done",
]  # fmt: skip
"""Models whose answers end well and tell their usage."""

CUT_OFF = ["length", "content-filter"]


class City(BaseModel):
    """What the model ``json`` writes."""

    city: str
    n: int


class GetWeather(BaseModel):
    """The weather now."""

    city: str


def asked(mode: str) -> dict[str, Any]:
    """Arguments of a request for a model."""
    tools = [WEATHER, TIME] if "tool" in mode else []
    return {"model": mode, "input": "Hello", "tools": tools}


def said(response: Response) -> Any:
    """What a response says, without what is new each time."""
    known = {"call_paris", "call_rome", "call_whole", "call_bad"}
    items = [item.model_dump(exclude={"id"}) for item in response.output]
    for item in items:
        if item.get("call_id") not in known:
            item.pop("call_id", None)
    return response.status, response.model, items


@pytest.mark.parametrize("mode", [*WHOLE, *CUT_OFF])
def test_every_answer_fits_the_clients_types_plain_and_streamed(strict_client: OpenAI, mode: str) -> None:
    plain = strict_client.responses.create(**asked(mode))
    events = list(strict_client.responses.create(**asked(mode), stream=True))
    assert events[-1].type == ("response.completed" if mode in WHOLE else "response.incomplete")
    assert said(events[-1].response) == said(plain)
    check_stream([event.to_dict() for event in events])


@pytest.mark.parametrize("mode", [*WHOLE, *CUT_OFF])
async def test_every_answer_fits_the_asynchronous_clients_types_plain_and_streamed(
    strict_async_client: AsyncOpenAI, mode: str
) -> None:
    plain = await strict_async_client.responses.create(**asked(mode))
    events = [event async for event in await strict_async_client.responses.create(**asked(mode), stream=True)]
    assert said(events[-1].response) == said(plain)
    check_stream([event.to_dict() for event in events])


@pytest.mark.parametrize("mode", WHOLE)
def test_the_stream_helper_builds_the_final_response(strict_client: OpenAI, mode: str) -> None:
    with strict_client.responses.stream(**asked(mode)) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert isinstance(events[-1], ResponseCompletedEvent)
    plain = strict_client.responses.retrieve(final.id)
    assert [item.id for item in final.output] == [item.id for item in plain.output]
    assert (final.output_text, final.usage) == (plain.output_text, plain.usage)


@pytest.mark.parametrize("mode", WHOLE)
async def test_the_asynchronous_stream_helper_builds_the_final_response(
    strict_async_client: AsyncOpenAI, mode: str
) -> None:
    async with strict_async_client.responses.stream(**asked(mode)) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    plain = await strict_async_client.responses.retrieve(final.id)
    assert final.output_text == plain.output_text


def test_the_stream_helper_adds_up_text_and_arguments(client: OpenAI) -> None:
    with client.responses.stream(**asked("text-and-tool")) as stream:
        snapshots = {event.type: event.snapshot for event in stream if event.type.endswith(".delta")}
    assert snapshots == {
        "response.output_text.delta": "Let me look.",
        "response.function_call_arguments.delta": PARIS,
    }


@pytest.mark.parametrize("mode", CUT_OFF)
def test_the_stream_helper_says_that_an_answer_was_cut_off(client: OpenAI, mode: str) -> None:
    with client.responses.stream(**asked(mode)) as stream, pytest.raises(RuntimeError, match=r"response\.completed"):
        stream.get_final_response()


def test_the_parse_helper_gives_an_object_of_the_schema(strict_client: OpenAI) -> None:
    response = strict_client.responses.parse(model="json", input="A city as JSON", text_format=City)
    assert response.output_parsed == City(city="Paris", n=1)


def test_the_stream_helper_gives_an_object_of_the_schema(client: OpenAI) -> None:
    with client.responses.stream(model="json", input="A city as JSON", text_format=City) as stream:
        assert stream.get_final_response().output_parsed == City(city="Paris", n=1)


def test_the_parse_helper_reads_arguments(client: OpenAI) -> None:
    tool = pydantic_function_tool(GetWeather)["function"]
    function: Any = {"type": "function", **tool}
    response = client.responses.parse(model="tool", input="Weather?", tools=[function])
    [call] = response.output
    assert call.type == "function_call"
    assert call.parsed_arguments == {"city": "Paris"}


@pytest.mark.parametrize("kept_in", ["conversation", "chain", "client"])
def test_a_tool_is_used_over_two_turns(strict_client: OpenAI, kept_in: str) -> None:
    fields: dict[str, Any] = {"model": "parallel-tools", "tools": [WEATHER, TIME]}
    history: list[Any] = [{"role": "user", "content": "Weather?"}]
    if kept_in == "conversation":
        fields["conversation"] = strict_client.conversations.create().id
    first = strict_client.responses.create(input=history, **fields)
    calls = [item for item in first.output if isinstance(item, ResponseFunctionToolCall)]
    assert [call.arguments for call in calls] == [PARIS, ROME]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": call.name} for call in calls]
    if kept_in == "chain":
        fields["previous_response_id"] = first.id
    sent = [*history, *(item.to_dict() for item in first.output), *outputs] if kept_in == "client" else outputs
    second = strict_client.responses.create(input=sent, **fields)
    assert second.output_text == "The tools said: get_weather | get_time"


def test_items_of_a_conversation_with_turns_fit_the_clients_types(strict_client: OpenAI) -> None:
    conversation = strict_client.conversations.create(items=[{"type": "message", "role": "user", "content": "Hello"}])
    for mode in ("reasoning", "refusal", "length", "logprobs", "unicode"):
        strict_client.responses.create(model=mode, input=mode, conversation=conversation.id)
    items = list(strict_client.conversations.items.list(conversation.id, limit=3, order="asc"))
    assert len(items) == 1 + 2 * 5 + 1
    for item in items:
        assert strict_client.conversations.items.retrieve(str(item.id), conversation_id=conversation.id) == item


@pytest.mark.parametrize("form", ["id", "object"])
def test_a_conversation_is_echoed_as_an_object(strict_client: OpenAI, form: Literal["id", "object"]) -> None:
    conversation_id = strict_client.conversations.create().id
    given: Any = conversation_id if form == "id" else {"id": conversation_id}
    response = strict_client.responses.create(model="echo", input="Hello", conversation=given)
    assert response.conversation is not None
    assert response.conversation.id == conversation_id
    assert strict_client.responses.create(model="echo", input="Hello").conversation is None


def test_a_request_id_comes_with_answers_and_errors(client: OpenAI) -> None:
    response = client.responses.create(model="echo", input="Hello")
    assert response._request_id is not None
    with pytest.raises(openai.BadRequestError) as refusal:
        client.responses.create(model="no-such", input="Hello")
    assert refusal.value.request_id not in {None, response._request_id}


def test_raw_answers_show_their_headers(client: OpenAI) -> None:
    raw = client.responses.with_raw_response.create(model="echo", input="Hello")
    assert raw.headers["openai-version"] == "2020-10-01"
    assert raw.parse().output_text == "seen=1 last=Hello"


async def test_a_streamed_answer_can_be_read_in_pieces_as_it_comes(
    async_client: AsyncOpenAI, model: ScriptedModel, tag: str
) -> None:
    events = []
    async for event in await async_client.responses.create(model="slow", input=f"gate={tag}", stream=True):
        events.append(event)
        if event.type == "response.output_text.delta":
            model.open_gate(tag)
    check_stream([event.to_dict() for event in events])
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["before ", "after"]
