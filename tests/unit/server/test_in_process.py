from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import httpx2
import openai
import pytest

from llama_conversations import errors
from llama_conversations.apis.catalog import Models
from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.config.run_config import ServerConfig
from llama_conversations.server.app import build_app
from llama_conversations.server.in_process import MAX_PENDING_MESSAGES, InProcessTransport, in_process_client
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.catalog import Model
from llama_conversations.wire.chat import ChatCompletion, ChatCompletionRequest

MESSAGES = [{"role": "user", "content": "hi"}]


def chunk(text: str) -> bytes:
    return (
        b'data: {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", '
        b'"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % text.encode()
    )


class Chat:
    """Streams one chunk, and another when it is let."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.called = asyncio.Event()
        self.closed = asyncio.Event()

    async def create_chat_completion(self, request: ChatCompletionRequest) -> Json[ChatCompletion] | EventStream:
        self.called.set()
        if request.stream:
            return EventStream(self._frames())
        try:
            await self.go_on.wait()
        finally:
            self.closed.set()
        return Json.of(ChatCompletion(id="c", object="chat.completion", model=request.model, choices=[]))

    async def _frames(self) -> AsyncGenerator[bytes, None]:
        try:
            yield chunk("one")
            await self.go_on.wait()
            yield chunk("two")
            yield b"data: [DONE]\n\n"
        finally:
            self.closed.set()


class Catalog:
    async def list_models(self) -> Json[object]:
        raise ValueError("secret")

    async def get_model(self, model_id: str) -> Json[Model]:
        if model_id != "local/m":
            raise errors.ModelNotFound(model_id)
        fields = {"created": 1, "owned_by": "me", "provider_id": "p", "provider_model_id": "m", "metadata": {}}
        return Json.of(Model(id=model_id, **fields))


@pytest.fixture
async def chat() -> Chat:
    return Chat()


@pytest.fixture
async def client(chat: Chat) -> AsyncIterator[openai.AsyncOpenAI]:
    app = build_app([(ChatCompletions, chat), (Models, Catalog())], ServerConfig())
    async with in_process_client(app) as client:
        yield client


async def test_an_answer_comes_back_with_its_headers(client):
    raw = await client.models.with_raw_response.retrieve("local/m")
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.parse().id == "local/m"


async def test_a_request_body_reaches_the_app(client, chat):
    chat.go_on.set()
    assert (await client.chat.completions.create(model="m", messages=MESSAGES)).model == "m"


async def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("other")
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id.startswith("req_")


async def test_a_stream_arrives_event_by_event(client, chat):
    stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    events = aiter(stream)
    assert (await anext(events)).choices[0].delta.content == "one"
    assert not chat.closed.is_set()
    chat.go_on.set()
    assert [event.choices[0].delta.content async for event in events] == ["two"]


async def test_closing_a_stream_early_hangs_up(client, chat):
    stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    await anext(aiter(stream))
    await stream.close()
    assert chat.closed.is_set()
    assert not chat.go_on.is_set()


async def test_giving_up_waiting_hangs_up(client, chat):
    waiting = asyncio.create_task(client.chat.completions.create(model="m", messages=MESSAGES))
    await chat.called.wait()
    waiting.cancel()
    await asyncio.wait_for(chat.closed.wait(), 5)


async def test_closing_the_client_ends_the_requests_that_run(client, chat):
    waiting = asyncio.create_task(
        client.with_options(max_retries=0).chat.completions.create(model="m", messages=MESSAGES)
    )
    await chat.called.wait()
    await client.close()
    assert chat.closed.is_set()
    with pytest.raises(openai.InternalServerError) as caught:
        await waiting
    assert caught.value.status_code == 503


async def test_requests_run_side_by_side(client, chat):
    waiting = asyncio.create_task(client.chat.completions.create(model="m", messages=MESSAGES))
    await chat.called.wait()
    assert (await client.models.retrieve("local/m")).id == "local/m"
    chat.go_on.set()
    await waiting


def transport_client(app) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=InProcessTransport(app), base_url="http://x")


async def test_path_query_and_body_reach_the_app_as_they_are_written():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope, body=(await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async with transport_client(app) as client:
        assert (await client.put("/a%2Fb%20c?q=%C3%A9", content=b"body")).text == "x"
    assert (seen["method"], seen["path"], seen["raw_path"], seen["query_string"], seen["body"]) == (
        "PUT", "/a/b c", b"/a%2Fb%20c", b"q=%C3%A9", b"body",
    )  # fmt: skip


async def test_an_app_that_fails_fails_the_request():
    async def failing(scope, receive, send):
        raise ValueError("boom")

    async def silent(scope, receive, send):
        pass

    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async with transport_client(failing) as client:
        with pytest.raises(ValueError, match="boom"):
            await client.get("/")
    for app in (silent, half):
        async with transport_client(app) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get("/")


async def test_the_app_waits_for_a_client_that_does_not_read():
    sent = 0
    full = asyncio.Event()

    async def app(scope, receive, send):
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(10 * MAX_PENDING_MESSAGES):
            if sent == MAX_PENDING_MESSAGES:
                full.set()
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent += 1
        await send({"type": "http.response.body"})

    async with transport_client(app) as client:
        async with client.stream("GET", "/") as answer:
            await full.wait()
            assert sent == MAX_PENDING_MESSAGES
            assert len(await answer.aread()) == 10 * MAX_PENDING_MESSAGES
        sent = 0
        full.clear()
        async with client.stream("GET", "/"):
            await full.wait()
        assert sent == 10 * MAX_PENDING_MESSAGES
