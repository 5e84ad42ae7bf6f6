"""The official Python client: streams, tools, chains, conversations and structured output, as its guides show them."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from openai.types.responses import ResponseFunctionToolCall
from openai.types.responses.function_tool_param import FunctionToolParam
from pydantic import BaseModel

from harness.turns import messages_for, sent
from scripted_model import ScriptedModel
from scripted_model.answers import finish, text, tool_call


class GetWeather(BaseModel):
    """The weather now."""

    city: str


class Place(BaseModel):
    city: str
    n: int


WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "parameters": GetWeather.model_json_schema(),
    "strict": False,
}


def weather_in(call: ResponseFunctionToolCall) -> dict[str, str]:
    """The user's own function, called as the model wished; its output as an item."""
    city = json.loads(call.arguments)["city"]
    return {"type": "function_call_output", "call_id": call.call_id, "output": f"sunny in {city}"}


@pytest.fixture(params=["lenient", "strict"])
def client(request, environment):
    """As a user makes it; and once more refusing every answer that does not fit its types."""
    with OpenAI(max_retries=0, _strict_response_validation=request.param == "strict") as client:
        yield client


def test_a_question_is_answered(client):
    response = client.responses.create(model="echo", instructions="Be brief.", input="Hello")
    assert response.output_text == "seen=2 last=Hello"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert client.responses.retrieve(response.id) == response
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_stream_is_read_event_by_event(client):
    stream = client.responses.create(model="echo", input="Hello", stream=True)
    pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
    assert pieces == ["seen=1 ", "last=Hello"]


def test_the_stream_helper_puts_the_text_together(client):
    with client.responses.stream(model="echo", input="Hello there") as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ["seen=1 ", "seen=1 last=Hello ", "seen=1 last=Hello there"]
    assert final.output_text == snapshots[-1]
    assert client.responses.retrieve(final.id).output_text == final.output_text


@pytest.mark.parametrize("model_name", ["tool", "parallel-tools", "text-and-tool", "reasoning-tool"])
def test_the_stream_helper_parses_the_arguments_of_calls(client, model_name):
    tools = [pydantic_function_tool(GetWeather)]
    with client.responses.stream(model=model_name, input="Weather?", tools=tools) as stream:
        streamed = {}
        for event in stream:
            if event.type == "response.function_call_arguments.delta":
                streamed[event.item_id] = event.snapshot
        final = stream.get_final_response()
    calls = [item for item in final.output if item.type == "function_call"]
    assert [streamed[call.id] for call in calls] == [call.arguments for call in calls]
    cities = [call.parsed_arguments.city for call in calls]
    assert cities == (["Paris", "Rome"] if model_name == "parallel-tools" else ["Paris"])


@pytest.mark.parametrize("model_name", ["tool", "parallel-tools", "text-and-tool", "reasoning-tool"])
@pytest.mark.parametrize("kept_by", ["client", "previous_response_id", "conversation"])
def test_a_tool_loop_ends_in_words(client, model: ScriptedModel, tag, model_name, kept_by):
    def ask(items, **state):
        return client.responses.create(model=model_name, input=items, tools=[WEATHER], **state)

    question = [{"role": "user", "content": f"Weather? tag={tag}"}]
    held = {"conversation": client.conversations.create().id} if kept_by == "conversation" else {}
    first = ask(question, **held)
    outputs = [weather_in(item) for item in first.output if item.type == "function_call"]
    if kept_by == "client":
        second = ask([*question, *(item.to_dict() for item in first.output), *outputs])
    else:
        second = ask(outputs, **(held or {"previous_response_id": first.id}))
    wanted = "sunny in Paris | sunny in Rome" if model_name == "parallel-tools" else "sunny in Paris"
    assert second.output_text == f"The tools said: {wanted}"
    called = sent(model, tag, 2)[-1].body["messages"][1]["tool_calls"]
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call["function"]["arguments"] for call in called] == [call.arguments for call in calls]


def test_a_tool_can_be_forced_and_forbidden(client):
    forced = client.responses.create(
        model="tool", input="Weather?", tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"}
    )
    assert [item.type for item in forced.output] == ["function_call"]
    forbidden = client.responses.create(model="tool", input="Weather?", tools=[WEATHER], tool_choice="none")
    assert forbidden.output_text == "No tools were offered."


def test_a_chain_is_continued_by_the_id_of_its_last_response(client, model: ScriptedModel, tag):
    first = client.responses.create(model="echo", input="One", instructions="Only once.")
    second = client.responses.create(model="echo", input="Two", previous_response_id=first.id)
    client.responses.create(model="echo", input=f"Three tag={tag}", previous_response_id=second.id)
    assert [(said["role"], said["content"]) for said in messages_for(model, tag)] == [
        ("user", "One"),
        ("assistant", "seen=2 last=One"),
        ("user", "Two"),
        ("assistant", "seen=3 last=Two"),
        ("user", f"Three tag={tag}"),
    ]


def test_a_long_conversation_is_read_and_answered_as_a_whole(client, model: ScriptedModel, tag):
    conversation = client.conversations.create(metadata={"topic": "numbers"})
    for start in range(0, 60, 20):
        batch = [{"role": "user", "content": str(number)} for number in range(start, start + 20)]
        client.conversations.items.create(conversation.id, items=batch)
    answer = client.responses.create(model="echo", input=f"tag={tag}", conversation=conversation.id)
    wanted = [*(str(number) for number in range(60)), f"tag={tag}", answer.output_text]
    assert [said["content"] for said in messages_for(model, tag)] == wanted[:-1]
    items = client.conversations.items.list(conversation.id, order="asc", limit=7)
    assert [item.content[0].text for item in items] == wanted
    context = client.responses.input_items.list(answer.id, order="asc", limit=9)
    assert [item.content[0].text for item in context] == wanted[:-1]


def test_items_are_referred_to_by_their_ids(client, model: ScriptedModel, tag):
    first = client.responses.create(model="tool", input="Weather?", tools=[WEATHER])
    [call] = first.output
    client.responses.create(
        model="tool",
        input=[
            {"role": "user", "content": f"Weather? tag={tag}"},
            {"type": "item_reference", "id": call.id},
            weather_in(call),
        ],
        tools=[WEATHER],
    )
    [question, called, output] = messages_for(model, tag)
    assert question["content"] == f"Weather? tag={tag}"
    assert [one["id"] for one in called["tool_calls"]] == [output["tool_call_id"]] == [call.call_id]
    assert output["content"] == "sunny in Paris"


def test_structured_output_is_parsed_whole_and_from_a_stream(client, model: ScriptedModel, tag):
    parsed = client.responses.parse(model="json", input=f"Where? tag={tag}", text_format=Place).output_parsed
    assert parsed == Place(city="Paris", n=1)
    [request] = sent(model, tag)
    asked = request.body["response_format"]
    assert (asked["type"], asked["json_schema"]["strict"]) == ("json_schema", True)
    assert asked["json_schema"]["schema"]["properties"].keys() == {"city", "n"}
    with client.responses.stream(model="json", input="Where?", text_format=Place) as stream:
        assert stream.get_final_response().output_parsed == parsed


def test_reasoning_is_shown_and_taken_back_in_the_next_turn(client, model: ScriptedModel, tag):
    with client.responses.stream(model="reasoning", input="Think.", reasoning={"summary": "auto"}) as stream:
        thoughts = [event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"]
        first = stream.get_final_response()
    assert thoughts == ["Let me ", "think."]
    assert first.output[0].summary[0].text == "Let me think."
    history = [
        {"role": "user", "content": "Think."},
        *(item.to_dict() for item in client.responses.retrieve(first.id).output),
        {"role": "user", "content": f"And? tag={tag}"},
    ]
    client.responses.create(model="echo", input=history)
    assert [said["content"] for said in messages_for(model, tag)] == ["Think.", "42", f"And? tag={tag}"]


def test_a_refusal_is_told_apart_from_text(client):
    response = client.responses.create(model="refusal", input="Something bad")
    assert (response.output_text, response.output[0].content[0].type) == ("", "refusal")
    assert response.output[0].content[0].refusal == "I'm sorry, I can't help with that."


def test_an_answer_that_was_cut_off_says_so(client):
    response = client.responses.create(model="length", input="A story", max_output_tokens=16)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output_text == "Once upon "
    events = list(client.responses.create(model="length", input="A story", stream=True))
    assert (events[-1].type, events[-1].response.output_text) == ("response.incomplete", "Once upon ")


def test_errors_are_of_the_clients_own_kinds(client):
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="echo", input="Hello", conversation="conv_" + "0" * 48)
    with pytest.raises(openai.BadRequestError) as unknown:
        client.responses.create(model="no-such-model", input="Hello", stream=True)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError) as limited:
        client.responses.create(model="status-429", input="Hello")
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="status-500", input="Hello")


def test_a_model_that_fails_in_mid_stream_is_told_by_the_last_events(client):
    events = list(client.responses.create(model="error-mid", input="Hello", stream=True))
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert "The GPU is gone." in events[-1].response.error.message


def test_two_turns_at_once_on_one_conversation_both_succeed_by_the_clients_own_retries(
    environment, model: ScriptedModel, tag
):
    refused = threading.Event()

    def note(response: httpx2.Response) -> None:
        if response.status_code == 400:
            refused.set()

    hooks = {"response": [note]}
    with OpenAI(http_client=openai.DefaultHttpxClient(event_hooks=hooks)) as client, ThreadPoolExecutor(2) as pool:
        conversation = client.conversations.create().id

        def turn(model_name: str, words: str) -> str:
            return client.responses.create(model=model_name, input=words, conversation=conversation).output_text

        slow = pool.submit(turn, "slow", f"gate={tag}")
        model.wait_until_reached(tag)
        quick = pool.submit(turn, "echo", "Hello")
        assert refused.wait(30)
        model.open_gate(tag)
        assert slow.result() == "before after"
        assert quick.result() == "seen=3 last=Hello"


def test_a_user_stops_reading_and_the_conversation_goes_on(environment, model: ScriptedModel, tag):
    with OpenAI() as client:
        conversation = client.conversations.create().id
        asked = {"model": "slow", "input": f"gate={tag}", "conversation": conversation}
        with client.responses.create(**asked, stream=True) as stream:
            assert next(event.delta for event in stream if event.type == "response.output_text.delta") == "before "
        model.open_gate(tag)
        answer = client.responses.create(model="echo", input="Go on", conversation=conversation)
        items = client.conversations.items.list(conversation, order="asc")
        assert [item.content[0].text for item in items] == [
            f"gate={tag}", "before after", "Go on", "seen=3 last=Go on",
        ]  # fmt: skip
    assert answer.output_text == "seen=3 last=Go on"


async def test_many_streams_at_once_each_get_their_own_text(environment):
    async def read(client: AsyncOpenAI, number: int) -> str:
        async with client.responses.stream(model="echo", input=f"number {number}") as stream:
            return (await stream.get_final_response()).output_text

    async with AsyncOpenAI(max_retries=0) as client:
        texts = await asyncio.gather(*(read(client, number) for number in range(20)))
    assert texts == [f"seen=1 last=number {number}" for number in range(20)]


async def test_a_conversation_with_tools_is_held_asynchronously(environment, model: ScriptedModel, tag):
    model.script(
        (*tool_call(0, "call_a", "get_weather", '{"city":"Oslo"}'), finish("tool_calls")), text("Cold."), tag=tag
    )
    async with AsyncOpenAI(max_retries=0) as client:
        conversation = (await client.conversations.create()).id

        async def turn(items):
            async with client.responses.stream(
                model="scripted", input=items, conversation=conversation, tools=[WEATHER]
            ) as stream:
                return await stream.get_final_response()

        first = await turn(f"Oslo? tag={tag}")
        second = await turn([weather_in(first.output[0])])
        items = [item async for item in client.conversations.items.list(conversation, order="asc")]
    assert second.output_text == "Cold."
    assert [item.type for item in items] == ["message", "function_call", "function_call_output", "message"]
    assert [items[1].id, items[3].id] == [first.output[0].id, second.output[0].id]
