"""Every way in which a model server can fail, as the error that is its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import pytest

from llama_conversations.errors import (
    UpstreamDenied,
    UpstreamDisconnected,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamModelNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
)
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference
from scripted_model import Answer, ScriptedModel
from scripted_model.bodies import chat
from scripted_model.raw import RawServer, chunked, http

Connect = Callable[..., Awaitable[OpenAIInference]]
RawServers = Callable[..., Awaitable[tuple[str, RawServer]]]

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


async def plain_error(provider: OpenAIInference, body: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await provider.chat_completion(body)
    return caught.value


async def stream_error(provider: OpenAIInference, body: bytes) -> tuple[int, UpstreamError]:
    """How many chunks came before it, and the error."""
    seen = []

    async def read() -> None:
        async for chunk in provider.stream_chat_completion(orjson.dumps(orjson.loads(body) | {"stream": True})):
            seen.append(chunk)  # noqa: PERF401 (those before the error count)

    with pytest.raises(UpstreamError) as caught:
        await read()
    return len(seen), caught.value


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("status-400", UpstreamRejected),
        ("status-401", UpstreamDenied),
        ("status-403", UpstreamDenied),
        ("status-404", UpstreamModelNotFound),
        ("status-429", UpstreamRateLimited),
        ("quota", UpstreamRateLimited),
        ("status-500", UpstreamFailed),
        ("status-503", UpstreamFailed),
        ("html-502", UpstreamFailed),
        ("error-200", UpstreamFailed),
        ("html", UpstreamGarbled),
        ("redirect", UpstreamGarbled),
        ("empty-body", UpstreamGarbled),
        ("garbage", UpstreamGarbled),
        ("drop", UpstreamDisconnected),
    ],
)
async def test_an_answer_that_is_none_is_the_same_error_plain_and_streamed(
    provider: OpenAIInference, model: str, kind: type[UpstreamError]
) -> None:
    assert type(await plain_error(provider, chat(model))) is kind
    chunks, error = await stream_error(provider, chat(model))
    assert (chunks, type(error)) == (0, kind)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("drop-mid", UpstreamDisconnected),
        ("cut-short", UpstreamDisconnected),
        ("garbage-mid", UpstreamGarbled),
        ("error-mid", UpstreamFailed),
        ("limit-mid", UpstreamRateLimited),
    ],
)
async def test_a_stream_that_breaks_off_gives_its_chunks_first(
    provider: OpenAIInference, model: str, kind: type[UpstreamError]
) -> None:
    chunks, error = await stream_error(provider, chat(model))
    assert (chunks, type(error)) == (3, kind)


@pytest.mark.parametrize(
    ("model", "kind"),
    [("drop-mid", UpstreamDisconnected), ("garbage-mid", UpstreamGarbled), ("error-mid", UpstreamFailed)],
)
async def test_a_plain_answer_that_breaks_off_is_no_answer(
    provider: OpenAIInference, model: str, kind: type[UpstreamError]
) -> None:
    assert type(await plain_error(provider, chat(model))) is kind


async def test_no_key_is_logged_whatever_goes_wrong(
    connect: Connect, raw_server: RawServers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    address, _ = await raw_server(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", http(b"{}", "500 Oh"), http(b"{}", "401 No"), None)
    provider = await connect(
        base_url=address, api_key="sk-secret", headers={"X-Other": "another-secret"}, max_retries=1
    )
    for _ in range(4):
        await plain_error(provider, chat("any"))
    assert "asking again" in caplog.text
    assert "secret" not in caplog.text


async def test_a_rejection_keeps_the_model_servers_words(provider: OpenAIInference) -> None:
    error = await plain_error(provider, chat("status-400"))
    assert isinstance(error, UpstreamRejected)
    assert (error.message, error.param, error.code) == (
        "Invalid 'temperature': too hot.",
        "temperature",
        "invalid_value",
    )


async def test_a_rate_limit_keeps_its_retry_after(provider: OpenAIInference) -> None:
    error = await plain_error(provider, chat("status-429"))
    assert isinstance(error, UpstreamRateLimited)
    assert (error.retry_after, error.code) == ("7", "rate_limit_exceeded")


async def test_an_exhausted_quota_keeps_its_code(provider: OpenAIInference) -> None:
    error = await plain_error(provider, chat("quota"))
    assert isinstance(error, UpstreamRateLimited)
    assert (error.retry_after, error.code) == (None, "insufficient_quota")


async def test_the_words_in_mid_stream_are_kept(provider: OpenAIInference) -> None:
    _, error = await stream_error(provider, chat("error-mid"))
    assert error.message == "The model server failed (500): The GPU is gone."


@pytest.mark.parametrize("model", ["status-401", "status-403"])
async def test_a_denial_shows_neither_key_nor_address(
    connect: Connect, model_server: ScriptedModel, model: str
) -> None:
    provider = await connect(api_key="sk-secret", headers={"X-Other": "another-secret"}, max_retries=0)
    message = (await plain_error(provider, chat(model))).message
    assert "secret" not in message
    assert model_server.address.removeprefix("http://") not in message


async def test_a_key_in_the_model_servers_words_is_struck_out(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(api_key="sk-secret", headers={"X-Other": "another-secret"}, max_retries=0)
    words = f"sk-secret and another-secret at {model_server.base_url}"
    model_server.script(Answer(status=500, body=f'{{"error": "{words}"}}'), tag=tag)
    error = await plain_error(provider, chat("scripted", f"tag={tag}"))
    assert error.message == "The model server failed (500): *** and *** at http://***/v1"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        http(b"[]"),
        http(b"7"),
        http(b'{"choices": {}}'),
        http(b'{"object": "chat.completion"}'),
        http(b""),
        http(b"", "204 No Content"),
        http(b'{"choices": []', "200 OK"),
    ],
)
async def test_what_is_no_completion_is_garbled(connect: Connect, raw_server: RawServers, answer: bytes) -> None:
    address, _ = await raw_server(answer)
    provider = await connect(base_url=address, max_retries=0)
    assert type(await plain_error(provider, chat("any"))) is UpstreamGarbled


@pytest.mark.parametrize(
    "answer",
    [
        http(b'{"choices": []}'),
        http(TEXT + DONE, "200 OK", "text/plain"),
        chunked(TEXT + DONE, content_type="application/octet-stream"),
        http(b"", "204 No Content"),
        chunked(b"\x00\xff\n\ndata: \x00\n\n"),
        EVENT_STREAM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + TEXT,
    ],
)
async def test_what_is_no_event_stream_is_garbled(connect: Connect, raw_server: RawServers, answer: bytes) -> None:
    address, _ = await raw_server(answer)
    provider = await connect(base_url=address, max_retries=0)
    assert type((await stream_error(provider, chat("any")))[1]) is UpstreamGarbled


async def test_an_error_object_instead_of_a_stream_is_that_error(connect: Connect, raw_server: RawServers) -> None:
    address, _ = await raw_server(http(b'{"error": {"message": "slow down", "type": "rate_limit_error"}}'))
    provider = await connect(base_url=address, max_retries=0)
    assert type((await stream_error(provider, chat("any")))[1]) is UpstreamRateLimited


@pytest.mark.parametrize(
    "answer",
    [
        EVENT_STREAM + b"Content-Length: 9999\r\nConnection: close\r\n\r\n" + TEXT,
        EVENT_STREAM + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n" % (2 * len(TEXT)) + TEXT,
        EVENT_STREAM + b"\r\n" + TEXT,
    ],
)
async def test_a_body_that_is_shorter_than_announced_is_a_disconnection(
    connect: Connect, raw_server: RawServers, answer: bytes
) -> None:
    address, _ = await raw_server(answer, None)
    provider = await connect(base_url=address, max_retries=0)
    assert type((await stream_error(provider, chat("any")))[1]) is UpstreamDisconnected


async def test_a_refusal_whose_body_breaks_off_is_told_by_its_status(connect: Connect, raw_server: RawServers) -> None:
    answer = b"HTTP/1.1 429 Too Many\r\nContent-Length: 999\r\nRetry-After: 9\r\nConnection: close\r\n\r\n{"
    address, _ = await raw_server(answer)
    provider = await connect(base_url=address, max_retries=0)
    error = await plain_error(provider, chat("any"))
    assert isinstance(error, UpstreamRateLimited)
    assert error.retry_after == "9"


@pytest.mark.parametrize("body", [b"not json", b'{"model": "echo"}', b'{"model": "nobody", "messages": []}'])
async def test_a_body_that_the_model_server_refuses_is_a_rejection(provider: OpenAIInference, body: bytes) -> None:
    assert type(await plain_error(provider, body)) is UpstreamRejected
