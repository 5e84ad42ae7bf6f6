"""What turns and streams cost, counted: reads of the store, items looked at, tasks and objects kept."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from harness.event_stream import JsonObject
from llama_conversations.access import AccessScope
from llama_conversations.services.responses import history
from llama_conversations.storage.records import ItemRecord, TurnClaim
from unit.services.responses.support import Desk, text

STREAMS = 20
MAX_OBJECTS = 250
"""Objects of Python's that a stream may keep while its model thinks; among them its request, models and generators."""


def said(number: int) -> JsonObject:
    return {"type": "message", "role": "user", "content": f"number {number}"}


@pytest.mark.parametrize("length", [0, 1000])
async def test_a_turn_behind_a_known_history_reads_nothing_and_looks_at_what_is_new(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    conversation_id = await desk.conversation(*(said(number) for number in range(length)))
    store, looked_at, reads = desk.storage.conversations, list[int](), list[object]()
    read_told, history_since = history.read_told, store.history_since

    def counted(records: Sequence[ItemRecord]) -> object:
        looked_at.append(len(records))
        return read_told(records)

    async def noted(*arguments: object) -> object:
        reads.append(arguments)
        return await history_since(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(history, "read_told", counted)
    monkeypatch.setattr(store, "history_since", noted)
    for number in range(4):
        await desk.events(conversation=conversation_id, input=f"turn {number}")
        assert len(desk.model.bodies[-1]["messages"]) == length + 2 * number + 1  # type: ignore[arg-type]
    assert len(reads) == (1 if length else 0)
    assert length <= sum(looked_at) <= length + 8


async def test_a_turn_behind_a_known_chain_reads_none_of_its_responses_and_tells_all_of_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    responses, reads = desk.storage.responses, list[str]()
    read_chain = responses.chain

    async def noted(scope: AccessScope, response_id: str) -> object:
        reads.append(response_id)
        return await read_chain(scope, response_id)

    monkeypatch.setattr(responses, "chain", noted)
    ids, previous = list[str](), None
    for number in range(5):
        [*_, last] = await desk.events(input=f"turn {number}", previous_response_id=previous)
        previous = last["response"]["id"]
        ids.append(previous)
    assert reads == ids[:1]
    warm = desk.model.bodies[-1]["messages"]
    await desk.events(input="turn 4", previous_response_id=ids[3])  # a fork: of a chain, only the end is kept
    assert reads == [ids[0], ids[3]]
    assert desk.model.bodies[-1]["messages"] == warm
    assert len(warm) == 9  # type: ignore[arg-type]


@pytest.mark.parametrize("streamed", [False, True])
async def test_only_the_claim_of_a_turn_whose_caller_is_told_of_it_waits_for_the_disk(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    responses, told = desk.storage.responses, list[bool]()
    claim_turn = responses.claim

    async def noted(scope: AccessScope, claim: TurnClaim) -> object:
        told.append(claim.told)
        return await claim_turn(scope, claim)

    monkeypatch.setattr(responses, "claim", noted)
    desk.model.answer = b'{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}'
    await (desk.events() if streamed else desk.create())
    assert told == [streamed]


async def test_a_stream_that_waits_for_its_model_keeps_one_task_and_few_objects(desk: Desk) -> None:
    gate = asyncio.Event()
    desk.model.script = [text("Hel"), gate.wait, text("lo")]

    async def wait_for_model() -> list[object]:
        streams = []
        for _ in range(STREAMS):
            frames = await desk.frames()
            while b"output_text.delta" not in await anext(frames):
                pass
            streams.append(frames)
        return streams

    first = await wait_for_model()  # whatever is made once is there by now
    tasks, objects = len(asyncio.all_tasks()), _objects()
    second = await wait_for_model()
    desk.model.bodies.clear()
    assert len(asyncio.all_tasks()) - tasks == STREAMS
    assert (_objects() - objects) / STREAMS < MAX_OBJECTS
    gate.set()
    for frames in (*first, *second):
        async with aclosing(frames) as rest:  # type: ignore[type-var]
            assert b"response.completed" in b"".join([frame async for frame in rest])  # type: ignore[attr-defined]


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
