"""A model server that keeps silent, and a caller that goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest

from llama_conversations.errors import ShuttingDown, UpstreamDisconnected, UpstreamTimedOut
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.inference.openai_wire.config import OpenAIConfig
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference, create
from scripted_model import ScriptedModel
from scripted_model.answers import Step, delta, text
from scripted_model.bodies import chat

Connect = Callable[..., Awaitable[OpenAIInference]]

SHORT = 0.2


async def test_no_answer_at_all_is_a_time_out_and_is_not_repeated(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(timeouts={"first_byte_seconds": SHORT}, max_retries=2)
    with pytest.raises(UpstreamTimedOut):
        await provider.chat_completion(chat("hang", f"tag={tag}"))
    with pytest.raises(UpstreamTimedOut):
        await anext(provider.stream_chat_completion(chat("hang", f"tag={tag}", stream=True)))
    assert [request.outcome for request in await model_server.ended(tag=tag, count=2)] == ["disconnected"] * 2


async def test_a_head_without_a_body_is_a_time_out(connect: Connect, model_server: ScriptedModel, tag: str) -> None:
    provider = await connect(timeouts={"first_byte_seconds": SHORT, "idle_seconds": 60})
    model_server.script((Step("gate", tag), *text("late")), tag=tag)
    with pytest.raises(UpstreamTimedOut):
        await anext(provider.stream_chat_completion(chat("scripted", f"tag={tag}", stream=True)))


async def test_silence_in_mid_stream_is_a_time_out_after_the_chunks_before_it(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(timeouts={"idle_seconds": SHORT})
    chunks = provider.stream_chat_completion(chat("hang-mid", f"tag={tag}", stream=True))
    assert len([await anext(chunks) for _ in range(3)]) == 3
    with pytest.raises(UpstreamTimedOut):
        await anext(chunks)
    [request] = await model_server.ended(tag=tag)
    assert request.outcome == "disconnected"


async def test_a_caller_that_takes_its_time_is_not_the_model_servers_silence(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(timeouts={"idle_seconds": SHORT})
    model_server.script((delta(content="a"), Step("gate", tag), *text("b")), tag=tag)
    chunks = provider.stream_chat_completion(chat("scripted", f"tag={tag}", stream=True))
    await anext(chunks)
    await anext(chunks)
    await asyncio.sleep(2 * SHORT)  # the caller's own pause is what is tested
    model_server.open_gate(tag)
    assert len([chunk async for chunk in chunks]) == 2


async def test_a_pause_shorter_than_the_limit_is_no_time_out(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(timeouts={"idle_seconds": None, "first_byte_seconds": None})
    chunks = provider.stream_chat_completion(chat("slow", f"gate={tag}", stream=True))
    await anext(chunks)
    model_server.open_gate(tag)
    assert [orjson.loads(chunk) async for chunk in chunks]


async def test_closing_a_stream_drops_the_connection_at_once(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str
) -> None:
    chunks = provider.stream_chat_completion(chat("hang-mid", f"tag={tag}", stream=True))
    await anext(chunks)
    await chunks.aclose()
    [request] = await model_server.ended(tag=tag)
    assert request.outcome == "disconnected"


@pytest.mark.parametrize("model", ["hang", "hang-mid"])
async def test_cancelling_a_stream_drops_the_connection_at_once(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str, model: str
) -> None:
    async def consume() -> None:
        async for _ in provider.stream_chat_completion(chat(model, f"gate={tag} tag={tag}", stream=True)):
            pass

    task = asyncio.create_task(consume())
    await model_server.reached(tag)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [request] = await model_server.ended(tag=tag)
    assert request.outcome == "disconnected"


async def test_cancelling_a_plain_completion_drops_the_connection_at_once(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str
) -> None:
    task = asyncio.create_task(provider.chat_completion(chat("hang", f"gate={tag} tag={tag}")))
    await model_server.reached(tag)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [request] = await model_server.ended(tag=tag)
    assert request.outcome == "disconnected"


async def test_shutdown_ends_what_is_under_way(connect: Connect, model_server: ScriptedModel, tag: str) -> None:
    provider = await connect()
    chunks = provider.stream_chat_completion(chat("hang-mid", f"gate={tag} tag={tag}", stream=True))
    while not (await anext(chunks)).count(b"upon"):
        pass
    rest = asyncio.ensure_future(anext(chunks))
    await model_server.reached(tag)
    await provider.shutdown()
    with pytest.raises(UpstreamDisconnected):
        await rest
    [request] = await model_server.ended(tag=tag)
    assert request.outcome == "disconnected"


async def test_shutdown_without_a_start_is_no_error() -> None:
    await create(ProviderContext("upstream", OpenAIConfig(), {})).shutdown()


async def test_after_shutdown_nothing_is_asked(connect: Connect) -> None:
    provider = await connect()
    await provider.shutdown()
    with pytest.raises(ShuttingDown):
        await provider.chat_completion(chat("echo"))
    health = await provider.health()
    assert health.status == "error"


async def test_a_stream_read_to_its_end_leaves_its_connection_for_the_next(connect: Connect) -> None:
    provider = await connect()
    connector = provider._transport._session.connector
    for _ in range(5):
        assert [chunk async for chunk in provider.stream_chat_completion(chat("echo", stream=True))]
        await provider.chat_completion(chat("echo"))
    assert len(connector._acquired) == 0
    assert sum(len(idle) for idle in connector._conns.values()) == 1
