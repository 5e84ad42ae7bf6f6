"""Events as they are written: numbered, framed, and escaped."""

from __future__ import annotations

import dataclasses
from typing import get_args

import orjson
import pytest

from harness.event_stream import read_frames
from llama_conversations.wire import events
from llama_conversations.wire.events import ErrorEvent, Event, EventWriter, Forwarded, OutputTextDelta, ResponseEvent

SAMPLES = {"str": "a", "int": 3, "JsonObject": {"b": [1]}, "Sequence[JsonValue]": [{"token": "t"}], "str | None": None}
DATA_CLASSES = [cls for cls in get_args(Event) if cls is not ResponseEvent]


def sample(cls: type) -> Event:
    """An event with a value in every field, and its own type."""
    if cls is Forwarded:
        return Forwarded("response.x", {"type": "response.x", "sequence_number": 7, "item_id": "a"})
    fields = {field.name: SAMPLES[str(field.type)] for field in dataclasses.fields(cls) if field.name != "type"}
    made: Event = cls(**fields)
    return made


def test_events_are_numbered_from_zero_by_each_writer() -> None:
    for _ in range(2):
        writer = EventWriter()
        frames = b"".join(writer.frame(OutputTextDelta("msg", 0, 0, "a")) for _ in range(12))
        assert [event["sequence_number"] for event in read_frames(frames)] == list(range(12))


@pytest.mark.parametrize("cls", DATA_CLASSES, ids=lambda cls: cls.__name__)
def test_an_event_is_written_with_all_its_fields_and_its_type(cls: type) -> None:
    event = sample(cls)
    [written] = read_frames(EventWriter().frame(event))
    fields = event.payload if isinstance(event, Forwarded) else orjson.loads(orjson.dumps(event))
    assert written == {**fields, "sequence_number": 0}
    assert written["type"] == event.type


def test_every_event_of_the_module_is_one_that_can_be_written() -> None:
    made = {cls for cls in vars(events).values() if dataclasses.is_dataclass(cls) and "type" in cls.__annotations__}
    assert made == set(get_args(Event))


def test_a_response_event_carries_the_very_bytes_of_the_response() -> None:
    body = b'{"id":"resp_1","n":1.0,"output":[]}'
    frame = EventWriter().frame(ResponseEvent("response.created", body))
    assert frame == (
        b'event: response.created\ndata: {"type":"response.created","response":%b,"sequence_number":0}\n\n' % body
    )


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb\r", "\u2028\u2029\x85", "größe 🦙", '"\\', "\x00\x1f\x7f", ""])
def test_any_text_stays_within_one_line_and_comes_out_as_it_went_in(text: str) -> None:
    frame = EventWriter().frame(OutputTextDelta("msg", 0, 0, text))
    assert frame.count(b"\n") == 3
    assert b"\r" not in frame
    assert read_frames(frame)[0]["delta"] == text


def test_an_error_event_is_flat() -> None:
    [written] = read_frames(EventWriter().frame(ErrorEvent("server_error", "It broke.", None)))
    assert written == {
        "type": "error",
        "code": "server_error",
        "message": "It broke.",
        "param": None,
        "sequence_number": 0,
    }
