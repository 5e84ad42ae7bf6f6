"""Responses, plain and streamed, and the counting of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest

from llama_conversations.errors import (
    UpstreamDisconnected,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
)
from llama_conversations_providers.inference.openai_wire import retries, token_counters
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference
from scripted_model import ScriptedModel
from scripted_model.bodies import chat, responses

Connect = Callable[..., Awaitable[OpenAIInference]]


async def types_of(provider: OpenAIInference, body: bytes) -> list[str]:
    return [orjson.loads(event)["type"] async for event in provider.stream_response(body)]


async def test_a_response_comes_whole_or_in_events(provider: OpenAIInference) -> None:
    response = orjson.loads(await provider.create_response(responses("echo", "Hi")))
    assert response["output"][0]["content"][0]["text"] == "seen=1 last=Hi"
    types = await types_of(provider, responses("echo", "Hi", stream=True))
    assert (types[0], types[-1]) == ("response.created", "response.completed")
    assert (await types_of(provider, responses("length", stream=True)))[-1] == "response.incomplete"


@pytest.mark.parametrize(
    ("mode", "plain", "streamed"),
    [
        ("error-mid", UpstreamFailed, UpstreamFailed),
        ("limit-mid", UpstreamRateLimited, UpstreamRateLimited),
        ("drop-mid", UpstreamDisconnected, UpstreamDisconnected),
        ("no-terminal", UpstreamGarbled, UpstreamDisconnected),
        ("status-400", UpstreamRejected, UpstreamRejected),
        ("html", UpstreamGarbled, UpstreamGarbled),
    ],
)
async def test_what_the_server_does_wrong_is_an_error_of_its_kind(
    provider: OpenAIInference, mode: str, plain: type[UpstreamError], streamed: type[UpstreamError]
) -> None:
    with pytest.raises(plain):
        await provider.create_response(responses(mode))
    with pytest.raises(streamed):
        await types_of(provider, responses(mode, stream=True))


async def test_a_server_that_recovers_is_asked_again_before_it_answers(
    connect: Connect, model_server: ScriptedModel, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.001)
    provider = await connect(max_retries=2)
    types = await types_of(provider, responses("flaky", f"tag={tag}", stream=True))
    assert types[-1] == "response.completed"
    assert [request.status for request in model_server.requests(tag=tag, count=3)] == [503, 503, 200]


async def test_silence_in_mid_answer_is_a_time_out(connect: Connect, tag: str) -> None:
    provider = await connect(timeouts={"idle_seconds": 0.2})
    with pytest.raises(UpstreamTimedOut):
        await types_of(provider, responses("hang-mid", f"gate={tag}", stream=True))


async def test_closing_a_stream_drops_the_connection(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str
) -> None:
    events = provider.stream_response(responses("hang-mid", f"gate={tag} tag={tag}", stream=True))
    await anext(events)
    await model_server.reached(tag)
    await events.aclose()
    [request] = await model_server.ended(tag=tag)
    assert request.outcome == "disconnected"


async def test_how_a_server_is_asked_is_as_configured(connect: Connect) -> None:
    told = await connect(wire_api="responses", output_limit="max_completion_tokens", system_messages="first")
    assert (told.wire_api, told.output_limit) == ("responses", "max_completion_tokens")
    assert told.system_messages == "first"
    other = await connect()
    assert (other.wire_api, other.output_limit) == ("chat", "max_tokens")
    openai = await connect(base_url="https://api.openai.com/v1")
    assert openai.output_limit == "max_completion_tokens"


async def test_vllm_counts_the_messages_and_tools_of_a_request(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(token_counter="vllm")
    body = chat("echo", f"Hello there tag={tag}", stream=True, temperature=0)
    assert await provider.count_tokens(body) == 3
    [request] = model_server.requests(tag=tag)
    assert (request.path, request.body.keys()) == ("/tokenize", {"model", "messages"})


@pytest.mark.parametrize("counter", ["none", "llama-cpp", "vllm"])
@pytest.mark.parametrize("body", [chat("status-500"), chat("hang"), responses("echo"), b"{", b"[]"])
async def test_a_counter_that_fails_or_dawdles_counts_nothing(
    connect: Connect, counter: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_counters, "COUNT_SECONDS", 0.2)
    provider = await connect(token_counter=counter)
    async with asyncio.timeout(5):
        assert await provider.count_tokens(body) is None
