"""Pydantic AI's ``OpenAIResponsesModel``: agents with tools, streams, typed answers and memory on either side."""

from __future__ import annotations

import json

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelHTTPError,
    NativeOutput,
    PartDeltaEvent,
    PromptedOutput,
    TextPartDelta,
    ThinkingPart,
    ToolOutput,
)
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.exceptions import ContentFilterError
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.native_tools import MCPServerTool
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from harness.tools import script
from harness.turns import messages_for, sent
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel
from scripted_model.answers import text, tool_call

pytestmark = pytest.mark.client_pydantic_ai

WITH_TOOLS = ["tool", "parallel-tools", "text-and-tool", "reasoning-tool"]
SAID = dict.fromkeys(WITH_TOOLS, "The tools said: sunny in Paris") | {
    "parallel-tools": "The tools said: sunny in Paris | sunny in Rome"
}


THINKS = OpenAIModelProfile(openai_supports_reasoning=True, openai_supports_encrypted_reasoning_content=True)
"""What a user must say of a model whose name the client does not know; otherwise thoughts go back as plain text."""


class City(BaseModel):
    city: str


class Place(BaseModel):
    city: str
    n: int


def get_weather(city: str) -> str:
    """The weather now."""
    return f"sunny in {city}"


@pytest.fixture
async def client(environment):
    async with AsyncOpenAI(max_retries=0) as client:
        yield client


@pytest.fixture
def agent(client):
    provider = OpenAIProvider(openai_client=client)

    def make(model_name: str, *, profile: OpenAIModelProfile | None = None, **options: object) -> Agent:
        return Agent(OpenAIResponsesModel(model_name, provider=provider, profile=profile), **options)

    return make


async def test_a_chat_is_held_by_sending_its_history(agent, model: ScriptedModel, tag):
    echo = agent("echo", instructions="Be brief.")
    first = await echo.run("One")
    second = await echo.run(f"Two tag={tag}", message_history=first.all_messages())
    assert (first.output, second.output) == ("seen=2 last=One", f"seen=4 last=Two tag={tag}")
    assert [message["content"] for message in messages_for(model, tag)] == [
        "Be brief.", "One", first.output, f"Two tag={tag}",
    ]  # fmt: skip
    assert second.usage.total_tokens > 0


@pytest.mark.parametrize("chained", [False, True], ids=["all messages", "previous_response_id"])
@pytest.mark.parametrize("model_name", WITH_TOOLS)
async def test_an_agents_tools_are_run_until_it_answers(agent, model: ScriptedModel, tag, model_name, chained):
    settings = OpenAIResponsesModelSettings(**({"openai_previous_response_id": "auto"} if chained else {}))
    first = await agent(model_name, tools=[get_weather]).run("Weather?", model_settings=settings)
    assert first.output == SAID[model_name]
    await agent("echo").run(f"Thanks tag={tag}", message_history=first.all_messages(), model_settings=settings)
    [_, called, *outputs, answer, _] = messages_for(model, tag)
    arguments = [json.loads(call["function"]["arguments"])["city"] for call in called["tool_calls"]]
    assert arguments == (["Paris", "Rome"] if model_name == "parallel-tools" else ["Paris"])
    assert [output["content"] for output in outputs] == [f"sunny in {city}" for city in arguments]
    assert answer["content"] == first.output


async def test_a_chain_sends_only_what_is_new(agent, model: ScriptedModel, tag):
    settings = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    first = await agent("echo").run("One", model_settings=settings)
    second = await agent("echo").run("Two", message_history=first.all_messages(), model_settings=settings)
    await agent("echo").run(f"tag={tag}", message_history=second.all_messages(), model_settings=settings)
    said = [message["content"] for message in messages_for(model, tag)]
    assert said == ["One", "seen=1 last=One", "Two", "seen=3 last=Two", f"tag={tag}"]


async def test_the_server_keeps_the_conversation(client, agent):
    conversation = (await client.conversations.create()).id
    settings = OpenAIResponsesModelSettings(openai_conversation_id=conversation)
    first = await agent("tool", tools=[get_weather]).run("Weather?", model_settings=settings)
    second = await agent("echo").run("Thanks", model_settings=settings)
    assert (first.output, second.output) == (SAID["tool"], "seen=5 last=Thanks")
    kept = [item.type async for item in client.conversations.items.list(conversation, order="asc")]
    assert kept == ["message", "function_call", "function_call_output", "message", "message", "message"]


@pytest.mark.parametrize("model_name", ["tool", "parallel-tools", "reasoning-tool"])
async def test_text_is_streamed_after_the_tools_have_run(agent, model_name):
    async with agent(model_name, tools=[get_weather]).run_stream("Weather?") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    assert len(pieces) > 3
    assert "".join(pieces) == SAID[model_name]
    assert (result.usage.requests, result.usage.tool_calls) == (2, 2 if model_name == "parallel-tools" else 1)


@pytest.mark.parametrize("model_name", WITH_TOOLS)
async def test_every_event_of_a_run_is_seen(agent, model_name):
    async with agent(model_name, tools=[get_weather]).run_stream_events("Weather?") as stream:
        events = [event async for event in stream]
    called = [event.part.args_as_dict()["city"] for event in events if isinstance(event, FunctionToolCallEvent)]
    results = {event.part.content for event in events if isinstance(event, FunctionToolResultEvent)}
    assert called == (["Paris", "Rome"] if model_name == "parallel-tools" else ["Paris"])
    assert results == {f"sunny in {city}" for city in called}
    deltas = [event.delta for event in events if isinstance(event, PartDeltaEvent)]
    words = "".join(delta.content_delta for delta in deltas if isinstance(delta, TextPartDelta))
    assert words
    assert SAID[model_name].endswith(words[-10:])
    assert events[-1].result.output == SAID[model_name]


@pytest.mark.parametrize("output_type", [NativeOutput(Place), PromptedOutput(Place)], ids=["native", "prompted"])
async def test_an_agent_answers_in_a_type(agent, model: ScriptedModel, tag, output_type):
    result = await agent("json", output_type=output_type).run(f"Where? tag={tag}")
    assert result.output == Place(city="Paris", n=1)
    [request] = sent(model, tag)
    wanted = "json_schema" if isinstance(output_type, NativeOutput) else "json_object"
    assert request.body["response_format"]["type"] == wanted


async def test_an_agent_answers_in_a_type_by_calling_a_tool(agent, model: ScriptedModel, tag):
    located = agent("tool", output_type=ToolOutput(City))
    first = await located.run(f"Where? tag={tag}")
    assert first.output == City(city="Paris")
    assert sent(model, tag)[0].body["tool_choice"] == "required"
    again = await agent("echo").run("Thanks", message_history=first.all_messages())
    assert again.output == "seen=4 last=Thanks"


async def test_a_typed_answer_is_streamed_as_it_grows(agent):
    async with agent("json", output_type=NativeOutput(Place)).run_stream("Where?") as result:
        grown = [place async for place in result.stream_output(debounce_by=None)]
    assert grown[-1] == Place(city="Paris", n=1)


async def test_a_wrong_call_is_tried_again(agent, model: ScriptedModel, tag):
    model.script(tool_call(0, "call_wrong", "get_weather", '{"town":"Oslo"}'), tag=tag)
    model.script(tool_call(0, "call_right", "get_weather", '{"city":"Oslo"}'), text("Sunny."), tag=tag)
    result = await agent("scripted", tools=[get_weather]).run(f"Oslo? tag={tag}")
    assert result.output == "Sunny."
    last = sent(model, tag, 3)[-1].body["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "tool", "assistant", "tool"]
    assert last[-1]["content"] == "sunny in Oslo"


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_thoughts_are_kept_apart_from_text_and_taken_back(agent, model: ScriptedModel, tag, streamed, stored):
    settings = OpenAIResponsesModelSettings(openai_reasoning_summary="auto", openai_store=stored)
    thinker = agent("reasoning", profile=THINKS)
    if streamed:
        async with thinker.run_stream("Think.", model_settings=settings) as result:
            output = await result.get_output()
    else:
        result = await thinker.run("Think.", model_settings=settings)
        output = result.output
    assert output == "42"
    parts = result.all_messages()[-1].parts
    assert [part.content for part in parts if isinstance(part, ThinkingPart)] == ["Let me think."]
    echo = agent("echo", profile=THINKS)
    await echo.run(f"And? tag={tag}", message_history=result.all_messages(), model_settings=settings)
    assert [message["content"] for message in messages_for(model, tag)] == ["Think.", "42", f"And? tag={tag}"]


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
async def test_a_servers_tool_is_run_there_and_taken_back(
    agent, model: ScriptedModel, mcp_server: ScriptedMcp, tag, stored
):
    settings = OpenAIResponsesModelSettings(openai_store=stored)
    tool = MCPServerTool(id="house", url=mcp_server.url(tag=tag))
    guide = agent("scripted", capabilities=[NativeTool(tool)], profile=THINKS)
    first = await guide.run(script(model, tag, [("add", {"a": 2, "b": 3})], "It is 5."), model_settings=settings)
    assert first.output == "It is 5."
    returned = [part for part in first.all_messages()[-1].parts if part.part_kind == "builtin-tool-return"]
    assert [part.content.get("output") for part in returned if part.content.get("output")] == ["5"]
    echo = agent("echo", capabilities=[NativeTool(tool)], profile=THINKS)
    await echo.run(f"Sure? tag={tag}-2", message_history=first.all_messages(), model_settings=settings)
    [request] = sent(model, f"{tag}-2")
    told = [message["content"] for message in request.body["messages"]]
    # The client sends calls without their outputs: it relies on the server's memory, and there is none unless stored.
    outputs = [None, "5"] if stored else []
    assert told[1:] == [*outputs, "It is 5.", f"Sure? tag={tag}-2"]
    assert "add" in [tool["function"]["name"] for tool in request.body["tools"]]
    assert len(mcp_server.requests(tag, "tools/call")) == 1


async def test_errors_are_of_the_clients_own_kinds(agent):
    with pytest.raises(ModelHTTPError) as failed:
        await agent("status-500").run("Hello")
    assert failed.value.status_code == 502
    with pytest.raises(ContentFilterError, match="can't help"):
        await agent("refusal").run("Something bad")
    assert (await agent("length").run("A story")).output == "Once upon "
