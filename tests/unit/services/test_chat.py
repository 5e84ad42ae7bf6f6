"""Chat completions passed through."""

from __future__ import annotations

import json

import pytest

from llama_conversations.errors import ModelNotFound, UpstreamDisconnected, UpstreamRateLimited
from llama_conversations.services.chat import ChatCompletionsServiceImpl
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.chat import ChatCompletionRequest
from unit.services.doubles import StubInference, StubRouter

BODY = (
    '{"model":"alias","messages":[{"role":"user","content":"h\\u00e9 \\ud83d\\ude00","x":null}],'
    '"seed":18446744073709551617,"temperature":0.1,"logit_bias":{"50256":-100},"custom":[1,{"a":null}]%s}'
)


def request(extra: str = "") -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate_json(BODY % extra)


def streamed(inference: StubInference, *chunks: bytes | Exception) -> ChatCompletionsServiceImpl:
    inference.chunks = chunks
    return ChatCompletionsServiceImpl(StubRouter(inference))


async def frames_of(answer: object) -> list[bytes]:
    assert isinstance(answer, EventStream)
    return [frame async for frame in answer.frames]


@pytest.mark.parametrize("extra", ["", ',"stream":false', ',"stream":null'])
async def test_all_but_the_model_goes_upstream_as_it_came(extra: str) -> None:
    inference = StubInference()
    await ChatCompletionsServiceImpl(StubRouter(inference)).create_chat_completion(request(extra))
    [sent] = inference.bodies
    assert json.loads(sent) == {**json.loads(BODY % ""), "model": "upstream/model-1"}


async def test_the_answer_comes_back_byte_for_byte() -> None:
    inference = StubInference()
    inference.answer = b'{ "id": "c1",\n "model": "upstream/model-1", "choices": [], "object": "chat.completion" }'
    answer = await ChatCompletionsServiceImpl(StubRouter(inference)).create_chat_completion(request())
    assert isinstance(answer, Json)
    assert answer.body == inference.answer


async def test_an_unknown_model_is_refused_before_anything_goes_upstream() -> None:
    inference = StubInference()
    service = ChatCompletionsServiceImpl(StubRouter(inference, model="other"))
    with pytest.raises(ModelNotFound):
        await service.create_chat_completion(request(',"stream":true'))
    assert inference.bodies == []


async def test_a_stream_is_framed_and_ends_with_done() -> None:
    inference = StubInference()
    service = streamed(inference, b'{"a":1}', b'{"a":2}')
    frames = await frames_of(await service.create_chat_completion(request(',"stream":true')))
    assert b"".join(frames) == b'data: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n'
    assert json.loads(inference.bodies[0])["stream"] is True
    assert inference.stream_closed


async def test_an_error_before_the_first_chunk_is_an_ordinary_error() -> None:
    inference = StubInference()
    service = streamed(inference, UpstreamRateLimited("stub", "slow down", retry_after="7"))
    with pytest.raises(UpstreamRateLimited):
        await service.create_chat_completion(request(',"stream":true'))
    assert inference.stream_closed


async def test_an_error_after_the_first_chunk_is_a_last_frame_in_the_shape_of_errors() -> None:
    inference = StubInference()
    service = streamed(inference, b'{"a":1}', UpstreamDisconnected("stub", "the connection ended"))
    *frames, last = await frames_of(await service.create_chat_completion(request(',"stream":true')))
    assert frames == [b'data: {"a":1}\n\n']
    assert last.startswith(b"data: ")
    assert last.endswith(b"\n\n")
    assert json.loads(last[6:]) == {
        "error": {"message": "the connection ended", "type": "server_error", "param": None, "code": "server_error"}
    }


async def test_a_stream_without_chunks_is_just_done() -> None:
    service = streamed(StubInference())
    assert await frames_of(await service.create_chat_completion(request(',"stream":true'))) == [b"data: [DONE]\n\n"]


@pytest.mark.parametrize("read", [0, 1])
async def test_a_client_that_hangs_up_stops_the_model_server(read: int) -> None:
    inference = StubInference()
    service = streamed(inference, b'{"a":1}', b'{"a":2}', b'{"a":3}')
    answer = await service.create_chat_completion(request(',"stream":true'))
    assert isinstance(answer, EventStream)
    for _ in range(read):
        await anext(answer.frames)
    assert not inference.stream_closed
    await answer.frames.aclose()
    assert inference.stream_closed
