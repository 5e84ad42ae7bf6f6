"""A stream of response events: what ends it, and what it must not hold."""

from __future__ import annotations

import pytest

from llama_conversations.errors import UpstreamDisconnected, UpstreamFailed, UpstreamGarbled, UpstreamRateLimited
from llama_conversations_providers.inference.openai_wire.errors import ErrorWriter
from llama_conversations_providers.inference.openai_wire.response_events import ResponseEventReader

CREATED = b'{"type":"response.created","response":{"status":"in_progress","error":null,"output":[]}}'
DELTA = b'{"type":"response.output_text.delta","delta":"\\"response.completed\\" \\"error\\""}'
COMPLETED = b'{"sequence_number":2,"response":{"output":[]},"type":"response.completed"}'


def event(payload: bytes) -> bytes:
    return b"event: x\ndata: " + payload + b"\n\n"


@pytest.fixture
def events() -> ResponseEventReader:
    return ResponseEventReader(ErrorWriter("upstream", ("sk-very-secret",)))


def test_the_last_event_ends_the_stream(events: ResponseEventReader) -> None:
    found = list(events.feed(event(CREATED) + event(DELTA) + event(COMPLETED) + event(b"[DONE]")))
    assert found == [CREATED, DELTA, COMPLETED]
    assert events.done


def test_an_end_without_the_last_event_is_a_disconnection(events: ResponseEventReader) -> None:
    assert list(events.feed(event(CREATED) + event(DELTA) + event(b"[DONE]"))) == [CREATED, DELTA]
    with pytest.raises(UpstreamDisconnected):
        list(events.end())


def test_a_last_event_without_its_blank_line_counts(events: ResponseEventReader) -> None:
    assert list(events.feed(b"data: " + COMPLETED)) == []
    assert list(events.end()) == [COMPLETED]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"type":"error","code":"server_error","message":"gone sk-very-secret","param":null}', UpstreamFailed),
        (b'{"type":"error","error":{"type":"x","code":"rate_limit_exceeded","message":"gone"}}', UpstreamRateLimited),
        (b'{"type":"response.failed","response":{"error":{"code":"server_error","message":"gone"}}}', UpstreamFailed),
        (b'{"type":"response.failed","response":{"error":null}}', UpstreamGarbled),
    ],
)
def test_a_failure_is_raised_behind_the_events_before_it(
    events: ResponseEventReader, payload: bytes, error: type[Exception]
) -> None:
    found = events.feed(event(CREATED) + event(payload))
    assert next(found) == CREATED
    with pytest.raises(error) as caught:
        next(found)
    assert "sk-very-secret" not in str(caught.value)


@pytest.mark.parametrize("payload", [b"[1]", b"null", b"{half", b'{"error"}'])
def test_what_is_no_object_is_garbled(events: ResponseEventReader, payload: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        list(events.feed(event(payload)))
