"""What a connection remembers, and when it forgets."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from llama_conversations.apis.channels import Channel
from llama_conversations.errors import InvalidParameter, PreviousResponseNotFound
from unit.services.responses.support import ANSWER, Desk, text

REQUEST = {"type": "response.create", "model": "gpt", "input": "Hello", "store": False}


async def events_of(channel: Channel, **fields: object) -> list[dict[str, Any]]:
    """The events that answer a message."""
    asked = channel.read(orjson.dumps(REQUEST | fields))
    return [orjson.loads(event) async for event in channel.answer(asked)]


async def id_of(channel: Channel, **fields: object) -> str:
    """The id of a response that ended well."""
    last = (await events_of(channel, **fields))[-1]
    assert last["type"] == "response.completed"
    return str(last["response"]["id"])


async def test_the_model_is_given_what_is_remembered(desk: Desk) -> None:
    channel = desk.service.connect()
    first = await id_of(channel)
    await id_of(channel, input="And?", previous_response_id=first)
    contents = [message["content"] for message in desk.model.bodies[-1]["messages"]]
    assert contents == ["Hello", "Hello you", "And?"]


async def test_it_is_remembered_before_the_last_event_is_shown(desk: Desk) -> None:
    channel = desk.service.connect()
    asked = channel.read(orjson.dumps(REQUEST | {"stream_id": "main"}))
    async for event in channel.answer(asked):
        shown = orjson.loads(event)
        if shown["type"] == "response.completed":
            await id_of(channel, stream_id="fork", previous_response_id=shown["response"]["id"])


async def test_what_was_left_in_the_middle_is_not_remembered(desk: Desk) -> None:
    channel = desk.service.connect()
    first = await id_of(channel)
    desk.model.script = (text("Wait"), asyncio.Event().wait)
    answer = channel.answer(channel.read(orjson.dumps(REQUEST | {"previous_response_id": first})))
    await anext(answer)
    await answer.aclose()  # type: ignore[attr-defined]
    await desk.settled()
    desk.model.script = ANSWER
    await id_of(channel, previous_response_id=first)  # a hang-up is no failure


async def test_a_model_that_fails_evicts(desk: Desk) -> None:
    channel = desk.service.connect()
    first = await id_of(channel)
    desk.model.script = (text("No"), RuntimeError("boom"))
    assert (await events_of(channel, previous_response_id=first))[-1]["type"] == "response.failed"
    desk.model.script = ANSWER
    with pytest.raises(PreviousResponseNotFound):
        await events_of(channel, previous_response_id=first)


async def test_a_failure_that_continues_nothing_evicts_nothing(desk: Desk) -> None:
    channel = desk.service.connect()
    first = await id_of(channel)
    with pytest.raises(InvalidParameter):
        await events_of(channel, temperature=9)
    await id_of(channel, previous_response_id=first)


async def test_a_stored_response_takes_the_place_of_what_was_remembered(desk: Desk) -> None:
    channel = desk.service.connect()
    first = await id_of(channel)
    second = await id_of(channel, store=True)
    with pytest.raises(PreviousResponseNotFound):
        await events_of(channel, previous_response_id=first)
    await id_of(channel, previous_response_id=second)


async def test_each_connection_has_its_own_memory(desk: Desk) -> None:
    first = await id_of(desk.service.connect())
    with pytest.raises(PreviousResponseNotFound):
        await events_of(desk.service.connect(), previous_response_id=first)


async def test_a_turn_that_generates_nothing_asks_no_model(desk: Desk) -> None:
    channel = desk.service.connect()
    warm = await id_of(channel, generate=False)
    assert desk.model.bodies == []
    await id_of(channel, input="Now", previous_response_id=warm)
    assert [message["content"] for message in desk.model.bodies[-1]["messages"]] == ["Hello", "Now"]


async def test_every_event_names_its_lane(desk: Desk) -> None:
    events = await events_of(desk.service.connect(), stream_id="main")
    assert {event["stream_id"] for event in events} == {"main"}
    assert not any("stream_id" in event for event in await events_of(desk.service.connect()))


@pytest.mark.parametrize("lane", ["", " ", "a/b", "x" * 257, 1, ["a"]])
def test_a_lane_has_a_plain_name(desk: Desk, lane: object) -> None:
    with pytest.raises(InvalidParameter) as refused:
        desk.service.connect().read(orjson.dumps(REQUEST | {"stream_id": lane}))
    assert (refused.value.code, refused.value.param) == ("invalid_stream_id", "stream_id")
