"""What is repeated, how often, and what never is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import pytest

from llama_conversations.errors import UpstreamDisconnected, UpstreamError, UpstreamRateLimited, UpstreamUnreachable
from llama_conversations_providers.inference.openai_wire import retries
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference
from scripted_model import Answer, ScriptedModel
from scripted_model.answers import text
from scripted_model.bodies import chat
from scripted_model.raw import RawServer, http

Connect = Callable[..., Awaitable[OpenAIInference]]
RawServers = Callable[..., Awaitable[tuple[str, RawServer]]]

COMPLETION = http(b'{"choices": []}')


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.001)


def refusal(status: int) -> Answer:
    return Answer(status=status, body='{"error": {"message": "later"}}')


async def test_a_model_server_that_recovers_is_asked_until_it_answers(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(max_retries=2)
    answer = orjson.loads(await provider.chat_completion(chat("flaky", f"tag={tag}")))
    assert answer["choices"][0]["message"]["content"].startswith("seen=1")
    assert [request.status for request in model_server.requests(tag=tag)] == [503, 503, 200]


async def test_a_stream_is_repeated_before_it_begins(connect: Connect, model_server: ScriptedModel, tag: str) -> None:
    provider = await connect(max_retries=2)
    chunks = [chunk async for chunk in provider.stream_chat_completion(chat("flaky", f"tag={tag}", stream=True))]
    assert len(chunks) > 2
    assert len(model_server.requests(tag=tag)) == 3


@pytest.mark.parametrize("retries_allowed", [0, 1, 3])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_a_passing_refusal_is_repeated_as_often_as_configured(
    connect: Connect, model_server: ScriptedModel, tag: str, status: int, retries_allowed: int
) -> None:
    provider = await connect(max_retries=retries_allowed)
    model_server.script(*[refusal(status)] * 5, tag=tag)
    with pytest.raises(UpstreamError):
        await provider.chat_completion(chat("scripted", f"tag={tag}"))
    assert len(model_server.requests(tag=tag)) == 1 + retries_allowed


@pytest.mark.parametrize(
    "model", ["status-400", "status-401", "status-404", "quota", "html", "redirect", "garbage", "error-200"]
)
async def test_what_would_only_fail_again_is_asked_once(
    connect: Connect, model_server: ScriptedModel, tag: str, model: str
) -> None:
    provider = await connect(max_retries=2)
    with pytest.raises(UpstreamError):
        await provider.chat_completion(chat(model, f"tag={tag}"))
    assert len(model_server.requests(tag=tag)) == 1


@pytest.mark.parametrize("model", ["drop-mid", "error-mid", "garbage-mid", "cut-short"])
async def test_nothing_is_repeated_once_an_answer_has_begun(
    connect: Connect, model_server: ScriptedModel, tag: str, model: str
) -> None:
    provider = await connect(max_retries=2)
    with pytest.raises(UpstreamError):
        [chunk async for chunk in provider.stream_chat_completion(chat(model, f"tag={tag}", stream=True))]
    assert len(model_server.requests(tag=tag)) == 1


async def test_a_plain_answer_that_breaks_off_is_not_asked_for_again(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(max_retries=2)
    with pytest.raises(UpstreamDisconnected):
        await provider.chat_completion(chat("drop-mid", f"tag={tag}"))
    assert len(model_server.requests(tag=tag)) == 1


async def test_a_short_retry_after_is_waited_for(connect: Connect, model_server: ScriptedModel, tag: str) -> None:
    provider = await connect(max_retries=1)
    limited = Answer(status=429, headers={"Retry-After": "0"}, body="{}")
    model_server.script(limited, Answer(text("at last")), tag=tag)
    await provider.chat_completion(chat("scripted", f"tag={tag}"))
    assert [request.status for request in model_server.requests(tag=tag)] == [429, 200]


async def test_a_long_retry_after_is_handed_to_the_caller_at_once(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(max_retries=2)
    with pytest.raises(UpstreamRateLimited) as caught:
        await provider.chat_completion(chat("status-429", f"tag={tag}"))
    assert caught.value.retry_after == "7"
    assert len(model_server.requests(tag=tag)) == 1


async def test_a_connection_that_was_closed_while_idle_is_replaced(connect: Connect, raw_server: RawServers) -> None:
    address, raw = await raw_server(COMPLETION, None, COMPLETION)
    provider = await connect(base_url=address, max_retries=1)
    await provider.chat_completion(chat("any"))
    await provider.chat_completion(chat("any"))
    assert (raw.connections, len(raw.requests)) == (2, 3)


async def test_a_server_that_always_hangs_up_is_given_up(connect: Connect, raw_server: RawServers) -> None:
    address, raw = await raw_server(None)
    provider = await connect(base_url=address, max_retries=2)
    with pytest.raises(UpstreamDisconnected):
        await provider.chat_completion(chat("any"))
    assert raw.connections == 3


async def test_an_unreachable_server_is_tried_again(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = retries.delay_before
    monkeypatch.setattr(
        "llama_conversations_providers.inference.openai_wire.transport.delay_before",
        lambda retry: asked.append(retry) or real(retry),
    )
    provider = await connect(base_url="http://127.0.0.1:1/v1", max_retries=2)
    with pytest.raises(UpstreamUnreachable):
        await provider.chat_completion(chat("any"))
    assert asked == [0, 1, 2]
