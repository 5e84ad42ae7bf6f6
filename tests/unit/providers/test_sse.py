"""The event parser, over every way in which the network may cut a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llama_conversations_providers.inference.openai_wire import sse
from llama_conversations_providers.inference.openai_wire.sse import EventParser, EventTooLong


def by_the_book(stream: bytes) -> list[bytes]:
    """The standard's algorithm on the whole stream at once, a line at a time; keeps an event that is not closed."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[bytes] = []
    data: list[bytes] = []
    for line in text.split(b"\n"):
        if not line:
            if data:
                events.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            data.append(b"")
    return [*events, b"\n".join(data)] if data else events


def parse(pieces: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(edges)]


LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
WORDS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12).map(str.encode)
LINES = st.one_of(
    WORDS.map(b"data: ".__add__),
    WORDS.map(b"data:".__add__),
    WORDS.map(b": ".__add__),
    st.just(b""),
    st.sampled_from(
        [b"data", b"event: message", b"id: 1", b"retry: 10", b"nonsense", b"data : x", b"\xef\xbb\xbfdata: bom"]
    ),
)
STREAMS = st.lists(st.tuples(LINES, LINE_ENDS).map(b"".join), max_size=20).map(b"".join)


@given(stream=STREAMS, places=st.lists(st.integers(min_value=0), max_size=40))
@example(stream=b"data: a\r\n\r\ndata: b\r\n\r\n", places=[8, 9, 10, 11])
@example(stream=b"data: a\n\r\ndata: b\r\r", places=[8, 9])
@example(stream=b"\xef\xbb\xbfdata: a\n\n", places=[1, 2])
def test_any_stream_cut_anywhere_gives_the_events_of_the_standard(stream: bytes, places: list[int]) -> None:
    assert parse(cut(stream, places)) == by_the_book(stream)


@given(stream=st.binary(max_size=60).map(lambda raw: raw.replace(b"d", b"data: ").replace(b"n", b"\n\n")))
def test_arbitrary_bytes_fed_one_by_one_give_the_events_of_the_standard(stream: bytes) -> None:
    assert parse([bytes([byte]) for byte in stream]) == by_the_book(stream)


def test_a_character_split_between_two_reads_stays_whole() -> None:
    stream = "data: 漢\n\n".encode()
    assert parse([stream[:7], stream[7:]]) == ["漢".encode()]


def test_events_are_given_out_as_soon_as_they_end() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one\n") == []
    assert parser.feed(b"\ndata: two") == [b"one"]
    assert parser.feed(b"\n\n") == [b"two"]
    assert parser.close() == []


def test_a_carriage_return_ends_a_line_without_waiting_for_a_line_feed() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one\r\r") == [b"one"]
    assert parser.feed(b"\ndata: two\r\r") == [b"two"]


def test_an_event_without_end_is_refused_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    parser = EventParser()
    parser.feed(b"data: " + b"x" * 90)
    with pytest.raises(EventTooLong):
        parser.feed(b"x" * 10)
