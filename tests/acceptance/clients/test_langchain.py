"""LangChain's ``ChatOpenAI`` over the Responses API: chains of responses, tools, streams and structured output."""

from __future__ import annotations

import asyncio
import json

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel

from harness.tools import mcp, script
from harness.turns import messages_for, sent
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel
from scripted_model.answers import finish, text, tool_call

pytestmark = pytest.mark.client_langchain

WITH_TOOLS = ["tool", "parallel-tools", "text-and-tool", "reasoning-tool"]
SAID = dict.fromkeys(WITH_TOOLS, "The tools said: sunny in Paris") | {
    "parallel-tools": "The tools said: sunny in Paris | sunny in Rome"
}


class Place(BaseModel):
    """Where it is."""

    city: str
    n: int


@tool
def get_weather(city: str) -> str:
    """The weather now."""
    return f"sunny in {city}"


def chat(model_name: str, **options: object) -> ChatOpenAI:
    return ChatOpenAI(model=model_name, use_responses_api=True, max_retries=0, **options)


def whole(chunks) -> AIMessageChunk:
    """The chunks of a stream, added up as LangChain's users do."""
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first


def with_outputs(message: AIMessage) -> list:
    """A message and the outputs of the tools that it calls."""
    return [message, *(get_weather.invoke(call) for call in message.tool_calls)]


def test_a_chat_is_held_by_sending_all_messages(environment, model: ScriptedModel, tag):
    messages = [SystemMessage("Be brief."), HumanMessage("One")]
    answer = chat("echo").invoke(messages)
    assert answer.text == "seen=2 last=One"
    assert answer.usage_metadata["total_tokens"] > 0
    second = chat("echo").invoke([*messages, answer, HumanMessage(f"Two tag={tag}")])
    assert second.text == f"seen=4 last=Two tag={tag}"
    assert [(said["role"], said["content"]) for said in messages_for(model, tag)] == [
        ("system", "Be brief."),
        ("user", "One"),
        ("assistant", "seen=2 last=One"),
        ("user", f"Two tag={tag}"),
    ]


@pytest.mark.parametrize("output_version", ["v0", "responses/v1", "v1"])
def test_every_form_of_messages_is_understood_again(environment, output_version):
    thinker = chat("reasoning", reasoning={"effort": "low", "summary": "auto"}, output_version=output_version)
    answer = thinker.invoke("Think.")
    assert answer.text == "42"
    assert [block["type"] for block in answer.content_blocks] == ["reasoning", "text"]
    assert answer.content_blocks[0]["reasoning"] == "Let me think."
    again = chat("echo", output_version=output_version).invoke([HumanMessage("Think."), answer, HumanMessage("And?")])
    assert again.text == "seen=3 last=And?"


def test_a_chat_is_continued_by_the_id_of_the_last_response(environment):
    first = chat("echo").invoke("One")
    second = chat("echo").invoke("Two", previous_response_id=first.response_metadata["id"])
    assert second.text == "seen=3 last=Two"


def test_a_chat_finds_the_last_response_in_its_messages(environment, model: ScriptedModel, tag):
    chained = chat("echo", use_previous_response_id=True)
    messages = [HumanMessage("One")]
    messages.append(chained.invoke(messages))
    messages.append(HumanMessage(f"Two tag={tag}"))
    assert chained.invoke(messages).text == f"seen=3 last=Two tag={tag}"
    assert [said["content"] for said in messages_for(model, tag)] == ["One", "seen=1 last=One", f"Two tag={tag}"]


def test_a_chat_is_kept_in_a_conversation(environment):
    with OpenAI() as client:
        conversation = client.conversations.create().id
        keeping = chat("echo", model_kwargs={"conversation": conversation})
        assert [keeping.invoke(words).text for words in ("One", "Two")] == ["seen=1 last=One", "seen=3 last=Two"]
        assert len(list(client.conversations.items.list(conversation))) == 4


@pytest.mark.parametrize("chained", [False, True], ids=["all messages", "previous_response_id"])
@pytest.mark.parametrize("model_name", WITH_TOOLS)
def test_a_tool_loop_ends_in_words(environment, model: ScriptedModel, tag, model_name, chained):
    guide = chat(model_name, use_previous_response_id=chained).bind_tools([get_weather])
    question = HumanMessage("Weather?")
    called = guide.invoke([question])
    assert [call["args"]["city"] for call in called.tool_calls] == ["Paris", "Rome"][: len(called.tool_calls)]
    messages = [question, *with_outputs(called)]
    answer = guide.invoke(messages)
    assert answer.text == SAID[model_name]
    assert not answer.tool_calls
    chat("echo").invoke([*messages, answer, HumanMessage(f"Thanks tag={tag}")])
    sent_back = [message for message in messages_for(model, tag) if message.get("tool_calls")]
    assert len(sent_back) == 1
    arguments = [json.loads(call["function"]["arguments"]) for call in sent_back[0]["tool_calls"]]
    assert arguments == [call["args"] for call in called.tool_calls]


@pytest.mark.parametrize("model_name", ["tool", "text-and-tool", "reasoning-tool"])
def test_a_streamed_tool_loop_ends_in_words(environment, model_name):
    guide = chat(model_name).bind_tools([get_weather])
    question = HumanMessage("Weather?")
    called = whole(guide.stream([question]))
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [("get_weather", {"city": "Paris"})]
    pieces = [chunk.text for chunk in guide.stream([question, *with_outputs(called)])]
    assert "".join(pieces) == SAID[model_name]
    assert len(pieces) > 3


def test_parallel_calls_are_streamed(environment, model: ScriptedModel, tag):
    paris = tool_call(0, "call_paris", "get_weather", '{"city":', '"Paris"}')
    rome = tool_call(1, "call_rome", "get_weather", '{"city":', '"Rome"}')
    model.script((*paris, *rome, finish("tool_calls")), text("Both are sunny."), tag=tag)
    guide = chat("scripted").bind_tools([get_weather])
    question = HumanMessage(f"Both? tag={tag}")
    called = whole(guide.stream([question]))
    assert [call["args"] for call in called.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert whole(guide.stream([question, *with_outputs(called)])).text == "Both are sunny."


def test_parallel_calls_of_a_model_that_interleaves_them_are_streamed(environment):
    called = whole(chat("parallel-tools").bind_tools([get_weather]).stream("Both?"))
    assert [call["args"] for call in called.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]


def test_a_tool_can_be_forced(environment, model: ScriptedModel, tag):
    forced = chat("tool").bind_tools([get_weather], tool_choice="get_weather", strict=True, parallel_tool_calls=False)
    assert forced.invoke(f"Weather? tag={tag}").tool_calls[0]["name"] == "get_weather"
    [request] = sent(model, tag)
    assert request.body["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert request.body["parallel_tool_calls"] is False
    assert request.body["tools"][0]["function"]["strict"] is True


def test_a_servers_tool_is_run_there_once_the_user_agrees(
    environment, model: ScriptedModel, mcp_server: ScriptedMcp, tag
):
    guide = chat("scripted", output_version="responses/v1")
    guide = guide.bind_tools([mcp(mcp_server.url(tag=tag), require_approval="always")])
    question = HumanMessage(script(model, tag, [("add", {"a": 2, "b": 3})], "It is 5.", "Sure."))
    asked = whole(guide.stream([question]))
    [request] = [block for block in asked.content if block["type"] == "mcp_approval_request"]
    yes = {"type": "mcp_approval_response", "approve": True, "approval_request_id": request["id"]}
    answer = guide.invoke([HumanMessage([yes])], previous_response_id=asked.response_metadata["id"])
    assert answer.text == "It is 5."
    replayed = guide.invoke([question, asked, HumanMessage([yes]), answer, HumanMessage(f"Sure? tag={tag}")])
    assert replayed.text == "Sure."
    assert len(mcp_server.requests(tag, "tools/call")) == 1
    roles = [message["role"] for message in sent(model, tag, 3)[2].body["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_text_is_streamed_in_pieces_with_usage_and_id(environment):
    message = whole(chat("echo").stream("Hello there"))
    assert message.text == "seen=1 last=Hello there"
    assert message.usage_metadata["output_tokens"] > 0
    assert message.response_metadata["status"] == "completed"
    assert chat("echo").invoke("And?", previous_response_id=message.response_metadata["id"]).text == "seen=3 last=And?"


def test_streamed_reasoning_is_kept_apart_from_text_and_taken_back(environment):
    message = whole(chat("reasoning", reasoning={"effort": "low", "summary": "auto"}).stream("Think."))
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]
    assert (message.content_blocks[0]["reasoning"], message.text) == ("Let me think.", "42")
    assert chat("echo").invoke([HumanMessage("Think."), message, HumanMessage("And?")]).text == "seen=3 last=And?"


async def test_chats_are_streamed_at_once(environment):
    async def read(words: str) -> str:
        return "".join([chunk.text async for chunk in chat("echo").astream(words)])

    texts = await asyncio.gather(*(read(f"number {number}") for number in range(8)))
    assert texts == [f"seen=1 last=number {number}" for number in range(8)]


def test_structured_output_is_parsed_whole_and_from_a_stream(environment, model: ScriptedModel, tag):
    located = chat("json").with_structured_output(Place, method="json_schema", strict=True)
    assert located.invoke(f"Where? tag={tag}") == Place(city="Paris", n=1)
    assert list(located.stream("Where?"))[-1] == Place(city="Paris", n=1)
    [request] = sent(model, tag)
    assert request.body["response_format"]["json_schema"]["name"] == "Place"


def test_structured_output_by_calling_a_function(environment):
    class City(BaseModel):
        """A city."""

        city: str

    located = chat("tool").with_structured_output(City, method="function_calling", include_raw=True)
    answer = located.invoke("Where?")
    assert answer["parsed"] == City(city="Paris")
    assert answer["raw"].tool_calls[0]["name"] == "City"


def test_structured_output_in_json_mode(environment):
    located = chat("json").with_structured_output(Place, method="json_mode")
    assert located.invoke("Where? Answer in JSON.") == Place(city="Paris", n=1)


def test_a_refusal_and_a_cut_off_answer_are_told(environment):
    [refused] = chat("refusal").invoke("Something bad").content
    assert (refused["type"], refused["refusal"]) == ("refusal", "I'm sorry, I can't help with that.")
    cut_off = chat("length", max_tokens=20).invoke("A story")
    assert cut_off.text == "Once upon "
    assert cut_off.response_metadata["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_model_that_fails_in_mid_stream_is_an_error(environment):
    with pytest.raises(ValueError, match="The GPU is gone"):
        list(chat("error-mid").stream("Hello"))
