"""A stream of chunks: what ends it, and what it must not hold."""

from __future__ import annotations

import pytest

from llama_conversations.errors import UpstreamDisconnected, UpstreamFailed, UpstreamGarbled, UpstreamRejected
from llama_conversations_providers.inference.openai_wire import sse
from llama_conversations_providers.inference.openai_wire.chunks import ChunkReader
from llama_conversations_providers.inference.openai_wire.errors import ErrorWriter

TEXT = b'{"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}'
FINISH = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'
USAGE = b'{"choices":[],"usage":{"total_tokens":3}}'


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


@pytest.fixture
def chunks() -> ChunkReader:
    return ChunkReader(ErrorWriter("upstream"))


def test_done_ends_the_stream_and_is_no_chunk(chunks: ChunkReader) -> None:
    assert list(chunks.feed(event(TEXT) + event(b"[DONE]") + event(b"after"))) == [TEXT]
    assert chunks.done


def test_a_finish_reason_before_the_end_will_do_without_done(chunks: ChunkReader) -> None:
    assert list(chunks.feed(event(TEXT) + event(FINISH) + event(USAGE))) == [TEXT, FINISH, USAGE]
    assert list(chunks.end()) == []
    assert chunks.done


def test_a_last_chunk_without_blank_line_counts(chunks: ChunkReader) -> None:
    list(chunks.feed(event(TEXT) + b"data: " + FINISH))
    assert list(chunks.end()) == [FINISH]


@pytest.mark.parametrize("beginning", [b"", event(TEXT), event(b'{"choices":null}'), event(b"{nonsense}")])
def test_an_end_without_done_or_finish_reason_is_a_disconnection(chunks: ChunkReader, beginning: bytes) -> None:
    list(chunks.feed(beginning))
    with pytest.raises(UpstreamDisconnected):
        list(chunks.end())
    assert not chunks.done


def test_half_a_chunk_at_the_end_is_garbled(chunks: ChunkReader) -> None:
    list(chunks.feed(event(TEXT) + b"data: " + FINISH[:20]))
    with pytest.raises(UpstreamGarbled):
        list(chunks.end())


@pytest.mark.parametrize("payload", [b"[1]", b'"text"', b"{half", b"null", b"\xff\xfe"])
def test_what_is_no_object_is_garbled_after_the_chunks_before_it(chunks: ChunkReader, payload: bytes) -> None:
    found = chunks.feed(event(TEXT) + event(payload))
    assert next(found) == TEXT
    with pytest.raises(UpstreamGarbled):
        next(found)


def test_an_endless_event_is_garbled(chunks: ChunkReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10)
    with pytest.raises(UpstreamGarbled):
        list(chunks.feed(b"x" * 11))


def test_comments_and_empty_data_keep_the_stream_alive_unseen(chunks: ChunkReader) -> None:
    assert list(chunks.feed(b": ping\n\ndata:\n\n" + event(TEXT))) == [TEXT]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"error":{"message":"gone","code":500}}', UpstreamFailed),
        (b'{"error":{"message":"too long","type":"BadRequestError","code":400}}', UpstreamRejected),
        (b'{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}', UpstreamRejected),
        (b'{"id":"x","choices":[{"finish_reason":"error"}],"error":{"message":"gone"}}', UpstreamFailed),
    ],
)
def test_an_error_among_the_chunks_is_raised(chunks: ChunkReader, payload: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(chunks.feed(event(payload)))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"error":null,"choices":[]}',
        b'{"choices":[{"delta":{"content":"the word \\"error\\""}}]}',
        b'{"choices":[{"delta":{},"finish_reason":"error"}]}',
        b'{"error"}',
    ],
)
def test_the_word_error_alone_is_none(chunks: ChunkReader, payload: bytes) -> None:
    assert list(chunks.feed(event(payload))) == [payload]
