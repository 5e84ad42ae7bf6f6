"""The OpenAI Agents SDK: agents with tools and handoffs, their memory kept in conversations of this server."""

from __future__ import annotations

import agents
import openai
import pytest
from agents import (
    Agent,
    HostedMCPTool,
    ModelSettings,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    OpenAIResponsesWSModel,
    RunConfig,
    Runner,
    function_tool,
)
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

from harness.tools import mcp, script
from harness.turns import messages_for, sent
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel
from scripted_model.answers import finish, text, tool_call
from scripted_model.modes import PARIS, ROME

pytestmark = pytest.mark.client_agents

OFFLINE = RunConfig(tracing_disabled=True)
TOOL_TURN = ["message", "function_call", "function_call_output", "message"]


class Place(BaseModel):
    city: str
    n: int


@function_tool
def get_weather(city: str) -> str:
    """The weather now."""
    return f"sunny in {city}"


@pytest.fixture
async def client(environment):
    async with AsyncOpenAI(max_retries=0) as client:
        yield client


@pytest.fixture
def session(client):
    return OpenAIConversationsSession(openai_client=client)


@pytest.fixture
def agent(client):
    def make(model_name: str, **options: object) -> Agent:
        return Agent(name=model_name, model=OpenAIResponsesModel(model_name, client), **options)

    return make


async def run(agent, question, **options):
    return await Runner.run(agent, question, run_config=OFFLINE, **options)


async def types_in(client, conversation_id):
    return [item.type async for item in client.conversations.items.list(conversation_id, order="asc")]


def said(items):
    return [item["content"] if isinstance(item["content"], str) else item["content"][0]["text"] for item in items]


async def test_a_session_remembers_what_was_said(client, session, agent, model: ScriptedModel, tag):
    echo = agent("echo", instructions="Be brief.")
    answers = [(await run(echo, words, session=session)).final_output for words in ("One", "Two", f"Three tag={tag}")]
    assert answers == ["seen=2 last=One", "seen=4 last=Two", f"seen=6 last=Three tag={tag}"]
    assert [message["content"] for message in messages_for(model, tag)] == [
        "Be brief.", "One", answers[0], "Two", answers[1], f"Three tag={tag}",
    ]  # fmt: skip
    assert said(await session.get_items()) == ["One", answers[0], "Two", answers[1], f"Three tag={tag}", answers[2]]
    roles = [item.role async for item in client.conversations.items.list(session.session_id, order="asc")]
    assert roles == ["user", "assistant"] * 3


async def test_a_session_is_taken_up_again_by_its_id(client, session, agent):
    await run(agent("echo"), "One", session=session)
    again = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    assert (await run(agent("echo"), "Two", session=again)).final_output == "seen=3 last=Two"


@pytest.mark.parametrize("model_name", ["tool", "text-and-tool", "reasoning-tool"])
async def test_a_tool_loop_in_a_session(client, session, agent, model_name):
    result = await run(agent(model_name, tools=[get_weather]), "Weather?", session=session)
    assert result.final_output == "The tools said: sunny in Paris"
    before = {"text-and-tool": ["message"], "reasoning-tool": ["reasoning"]}.get(model_name, [])
    assert await types_in(client, session.session_id) == [TOOL_TURN[0], *before, *TOOL_TURN[1:]]
    assert (await run(agent("echo"), "Thanks", session=session)).final_output.endswith("last=Thanks")


async def test_parallel_calls_in_a_session_each_get_their_own_output(session, agent, model: ScriptedModel, tag):
    first = await run(agent("parallel-tools", tools=[get_weather]), "Both?", session=session)
    assert first.final_output == "The tools said: sunny in Paris | sunny in Rome"
    await run(agent("echo"), f"And? tag={tag}", session=session)
    [question, calls, paris, rome, answer, _] = messages_for(model, tag)
    assert [call["id"] for call in calls["tool_calls"]] == [paris["tool_call_id"], rome["tool_call_id"]]
    assert [call["function"]["arguments"] for call in calls["tool_calls"]] == [PARIS, ROME]
    assert [one["content"] for one in (question, paris, rome, answer)] == [
        "Both?", "sunny in Paris", "sunny in Rome", first.final_output,
    ]  # fmt: skip


async def test_tools_over_several_turns_of_a_session(client, session, agent, model: ScriptedModel, tag):
    for city in ("Oslo", "Lima"):
        called = tool_call(0, f"call_{city}", "get_weather", f'{{"city":"{city}"}}')
        model.script((*called, finish("tool_calls")), text(f"It is sunny in {city}."), tag=tag)
    guide = agent("scripted", tools=[get_weather])
    for city in ("Oslo", "Lima"):
        result = await run(guide, f"{city}? tag={tag}", session=session)
        assert result.final_output == f"It is sunny in {city}."
    assert await types_in(client, session.session_id) == TOOL_TURN * 2
    last = sent(model, tag, 4)[-1].body["messages"]
    assert [message["role"] for message in last] == [
        "user", "assistant", "tool", "assistant", "user", "assistant", "tool",
    ]  # fmt: skip


async def test_tools_over_several_turns_of_a_model_that_repeats_its_call_ids(session, agent):
    for _ in range(2):
        result = await run(agent("tool", tools=[get_weather]), "Weather?", session=session)
        assert result.final_output == "The tools said: sunny in Paris"


async def test_a_session_of_more_than_twenty_items_counts_whole(session, agent, model: ScriptedModel, tag):
    words = [f"fact {number}" for number in range(45)]
    await session.add_items([{"role": "user", "content": fact} for fact in words])
    assert said(await session.get_items()) == words
    assert said(await session.get_items(limit=3)) == words[-3:]
    result = await run(agent("echo"), f"tag={tag}", session=session)
    assert result.final_output == f"seen=46 last=tag={tag}"
    assert [message["content"] for message in messages_for(model, tag)] == [*words, f"tag={tag}"]
    assert len(await session.get_items()) == 47


async def test_many_turns_make_a_session_of_more_than_twenty_items(session, agent):
    echo = agent("echo")
    answers = [(await run(echo, f"turn {number}", session=session)).final_output for number in range(13)]
    assert answers == [f"seen={2 * number + 1} last=turn {number}" for number in range(13)]


async def test_a_question_is_taken_back_and_asked_differently(session, agent, model: ScriptedModel, tag):
    await run(agent("echo"), "One", session=session)
    await run(agent("echo"), "Wrong question", session=session)
    answer, question = await session.pop_item(), await session.pop_item()
    assert said([question, answer]) == ["Wrong question", "seen=3 last=Wrong question"]
    await run(agent("echo"), f"Right question tag={tag}", session=session)
    contents = [message["content"] for message in messages_for(model, tag)]
    assert contents == ["One", "seen=1 last=One", f"Right question tag={tag}"]


async def test_items_are_popped_newest_first_until_none_is_left(session):
    await session.add_items([{"role": "user", "content": str(number)} for number in range(3)])
    assert said([await session.pop_item() for _ in range(3)]) == ["2", "1", "0"]
    assert await session.pop_item() is None


async def test_a_cleared_session_is_gone_and_begins_anew(client, session, agent):
    await run(agent("echo"), "One", session=session)
    old = session.session_id
    await session.clear_session()
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(old)
    assert await session.get_items() == []
    assert (await run(agent("echo"), "Two", session=session)).final_output == "seen=1 last=Two"
    assert session.session_id != old


@pytest.mark.parametrize("model_name", ["tool", "parallel-tools", "text-and-tool", "reasoning-tool"])
async def test_a_streamed_run_in_a_session(client, session, agent, model_name):
    streamed = Runner.run_streamed(
        agent(model_name, tools=[get_weather]), "Weather?", session=session, run_config=OFFLINE
    )
    happened, pieces = [], []
    async for event in streamed.stream_events():
        if event.type == "run_item_stream_event":
            happened.append(event.name)
        elif event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            pieces.append(event.data.delta)
    calls = 2 if model_name == "parallel-tools" else 1
    assert happened.count("tool_called") == happened.count("tool_output") == calls
    assert happened[-1] == "message_output_created"
    assert "".join(pieces).endswith(streamed.final_output)
    assert streamed.final_output.startswith("The tools said: sunny in Paris")
    assert (await types_in(client, session.session_id))[-1] == "message"


async def test_reasoning_stays_in_a_session_and_is_taken_back(client, session, agent):
    thinker = agent("reasoning", model_settings=ModelSettings(reasoning=Reasoning(effort="low", summary="auto")))
    for _ in range(2):
        assert (await run(thinker, "Think.", session=session)).final_output == "42"
    assert await types_in(client, session.session_id) == ["message", "reasoning", "message"] * 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_server_keeps_the_conversation_of_a_run(client, agent, model: ScriptedModel, tag, streamed):
    """``conversation_id`` instead of a session: only what is new is sent, and everything is kept."""
    conversation = (await client.conversations.create()).id
    guide = agent("parallel-tools", tools=[get_weather])
    if streamed:
        result = Runner.run_streamed(guide, "Both?", conversation_id=conversation, run_config=OFFLINE)
        async for _ in result.stream_events():
            pass
    else:
        result = await run(guide, "Both?", conversation_id=conversation)
    assert result.final_output == "The tools said: sunny in Paris | sunny in Rome"
    await run(agent("echo"), f"tag={tag}", conversation_id=conversation)
    kept = ["message", "function_call", "function_call", "function_call_output", "function_call_output", "message"]
    assert await types_in(client, conversation) == [*kept, "message", "message"]
    assert len(messages_for(model, tag)) == len(["user", "calls", "output", "output", "assistant", "user"])


async def test_runs_are_chained_by_the_last_response(agent, model: ScriptedModel, tag):
    guide = agent("tool", tools=[get_weather])
    first = await run(guide, "Weather?", auto_previous_response_id=True)
    assert first.final_output == "The tools said: sunny in Paris"
    await run(agent("echo"), f"tag={tag}", previous_response_id=first.last_response_id)
    assert [message["role"] for message in messages_for(model, tag)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


async def test_the_client_keeps_the_history_itself(agent):
    first = await run(agent("text-and-tool", tools=[get_weather]), "Weather?")
    history = [*first.to_input_list(), {"role": "user", "content": "Thanks"}]
    assert (await run(agent("echo"), history)).final_output == "seen=5 last=Thanks"


async def test_an_agent_answers_in_a_type(agent):
    assert (await run(agent("json", output_type=Place), "Where?")).final_output == Place(city="Paris", n=1)


async def test_an_agent_hands_over_to_another(agent):
    specialist = agent("echo", instructions="You know it.")
    result = await run(agent("tool", handoffs=[specialist]), "Hello")
    assert (result.last_agent.name, result.final_output) == ("echo", "seen=4 last=Hello")


@pytest.mark.parametrize("approves", [True, False], ids=["allowed", "refused"])
async def test_a_servers_tools_in_a_session_are_run_there_once_the_user_agrees(
    client, session, agent, model: ScriptedModel, mcp_server: ScriptedMcp, tag, approves
):
    asked = []

    def decide(request):
        asked.append((request.data.name, request.data.arguments))
        return {"approve": approves}

    config = mcp(mcp_server.url(tag=tag), require_approval="always")
    guide = agent("scripted", tools=[HostedMCPTool(tool_config=config, on_approval_request=decide)])
    said = script(model, tag, [("add", {"a": 2, "b": 3})], "Done.")
    assert (await run(guide, said, session=session)).final_output == "Done."
    assert asked == [("add", '{"a": 2, "b": 3}')]
    assert len(mcp_server.requests(tag, "tools/call")) == approves
    kept = await types_in(client, session.session_id)
    called = ["mcp_call"] if approves else []
    expected = ["message", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", *called, "message"]
    assert sorted(kept) == sorted(expected)
    await run(agent("echo"), f"Thanks tag={tag}-2", session=session)
    answered = [message["content"] for message in messages_for(model, f"{tag}-2") if message["role"] == "tool"]
    assert answered == (["5"] if approves else ["The user did not allow this call."])


async def test_runs_over_a_websocket_are_chained(client, model: ScriptedModel, tag):
    guide = Agent(name="guide", model=OpenAIResponsesWSModel("tool", client), tools=[get_weather])
    first = await run(guide, "Weather?", auto_previous_response_id=True)
    assert first.final_output == "The tools said: sunny in Paris"
    await guide.model.close()
    echo = Agent(name="echo", model=OpenAIResponsesModel("echo", client))
    await run(echo, f"tag={tag}", previous_response_id=first.last_response_id)
    assert len(messages_for(model, tag)) == len(["user", "call", "output", "assistant", "user"])


async def test_an_answer_that_was_cut_off_is_the_clients_own_error(agent):
    with pytest.raises(agents.ModelBehaviorError, match="max_output_tokens"):
        await run(agent("length"), "A story")


async def test_usage_adds_up_over_a_run(agent):
    usage = (await run(agent("tool", tools=[get_weather]), "Weather?")).context_wrapper.usage
    assert usage.requests == 2
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0
