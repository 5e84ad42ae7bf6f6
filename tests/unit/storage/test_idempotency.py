"""Idempotency keys: one run holds a key, what it did is marked with it, and a crash leaves the truth behind."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path

import pytest

from llama_conversations.errors import ConversationNotFound, IdempotencyKeyLost, IdempotencyKeyReused
from llama_conversations.storage import effects, sql_idempotency
from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.effects import answered, enter_hold
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import KeptAnswer, KeyBusy, KeyHold, LostAnswer
from llama_conversations.storage.sql_idempotency import SqlIdempotencyStore
from llama_conversations.wire.answers import Json
from llama_conversations.wire.conversations import Conversation
from unit.storage.support import (
    ALICE,
    EVERY_DATABASE,
    LEASE_SECONDS,
    STRANGERS,
    claim_of,
    commit_of,
    conversation,
    doomed,
    item,
    opened,
    response,
    rows,
    texts,
)

pytestmark = EVERY_DATABASE

ANSWER = KeptAnswer(200, '{"a":"b"}', '{"id":"x"}', streamed=False)
MADE = Json(Conversation, b'{"id":"made"}')
EXPIRED = -1.0
"""Seconds: a lease that has run out when it begins."""


def hold_of(key: str = "k", scope: object = ALICE) -> KeyHold:
    return KeyHold(scope, key, secrets.token_hex(8))  # type: ignore[arg-type]


async def keyed(hold: KeyHold, work: Callable[[], object]) -> object:
    """Do something as the request of a key."""

    async def run() -> object:
        enter_hold(hold)
        return await work()  # type: ignore[misc]

    return await asyncio.create_task(run(), context=copy_context())


async def test_a_key_that_is_held_is_busy_and_its_kept_answer_is_found_afterwards(storage: Storage) -> None:
    hold = hold_of()
    assert await storage.keys.claim(hold, "f") == hold
    assert isinstance(await storage.keys.claim(hold_of(), "f"), KeyBusy)
    await storage.keys.keep(hold, ANSWER)
    assert await storage.keys.claim(hold_of(), "f") == ANSWER


async def test_of_many_that_claim_a_key_at_once_one_gets_it(storage: Storage) -> None:
    holds = [hold_of() for _ in range(16)]
    found = await asyncio.gather(*(storage.keys.claim(hold, "f") for hold in holds))
    assert sum(isinstance(one, KeyHold) for one in found) == 1


async def test_another_request_with_the_same_key_is_refused_while_it_runs_and_afterwards(storage: Storage) -> None:
    hold = hold_of()
    await storage.keys.claim(hold, "f")
    with pytest.raises(IdempotencyKeyReused):
        await storage.keys.claim(hold_of(), "other")
    await storage.keys.keep(hold, ANSWER)
    with pytest.raises(IdempotencyKeyReused):
        await storage.keys.claim(hold_of(), "other")


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_the_same_key_of_another_caller_is_another_key(storage: Storage, stranger: object) -> None:
    hold, other = hold_of(), hold_of(scope=stranger)
    await storage.keys.claim(hold, "f")
    await storage.keys.keep(hold, ANSWER)
    assert await storage.keys.claim(other, "other") == other
    await storage.keys.release(other)
    assert await storage.keys.claim(hold_of(), "f") == ANSWER


async def test_a_released_key_is_free_for_any_request(storage: Storage) -> None:
    hold, other = hold_of(), hold_of()
    await storage.keys.claim(hold, "f")
    await storage.keys.release(hold)
    assert await storage.keys.claim(other, "other") == other


async def test_a_kept_answer_survives_reopening(path: Path) -> None:
    async with opened(path) as storage:
        hold = hold_of()
        await storage.keys.claim(hold, "f")
        await storage.keys.keep(hold, ANSWER)
    async with opened(path) as storage:
        assert await storage.keys.claim(hold_of(), "f") == ANSWER


async def test_a_key_whose_process_died_before_anything_had_happened_is_taken_over(path: Path) -> None:
    async with doomed(path) as storage:
        await storage.keys.claim(hold_of(), "f")
    async with opened(path) as storage:
        hold = hold_of()
        assert await storage.keys.claim(hold, "f") == hold


async def test_what_came_of_a_request_is_known_when_its_process_died_before_it_kept_the_answer(path: Path) -> None:
    async with doomed(path) as storage:
        hold, made = hold_of(), conversation()
        await storage.keys.claim(hold, "f")
        await keyed(hold, lambda: answered(storage.conversations.create(ALICE, made, []), lambda _: MADE))
    async with opened(path) as storage:
        assert await storage.keys.claim(hold_of(), "f") == LostAnswer(None, '{"id":"made"}')


async def test_a_released_key_whose_request_had_its_effect_keeps_what_came_of_it(storage: Storage) -> None:
    hold = hold_of()
    await storage.keys.claim(hold, "f")
    await keyed(hold, lambda: answered(storage.conversations.create(ALICE, conversation(), []), lambda _: MADE))
    await storage.keys.release(hold)
    assert await storage.keys.claim(hold_of(), "f") == KeptAnswer(200, "{}", '{"id":"made"}', streamed=False)


async def test_a_request_that_lost_its_key_has_no_effect(database: SqliteDatabase, storage: Storage) -> None:
    slow, next_one, target = hold_of(), hold_of(), conversation()
    await storage.conversations.create(ALICE, target, [])
    keys = SqlIdempotencyStore(database, EXPIRED)
    await keys.claim(slow, "f")
    assert await keys.claim(next_one, "f") == next_one

    async def append() -> object:
        return await answered(storage.conversations.append(ALICE, target.id, [item()]), lambda _: MADE)

    with pytest.raises(IdempotencyKeyLost):
        await keyed(slow, append)
    assert await texts(storage, target.id) == []
    await keyed(next_one, append)
    assert len(await texts(storage, target.id)) == 1
    await keys.keep(slow, ANSWER)
    assert await keys.claim(hold_of(), "f") == LostAnswer(None, '{"id":"made"}')


async def test_a_request_that_fails_marks_nothing(storage: Storage) -> None:
    hold = hold_of()
    await storage.keys.claim(hold, "f")
    with pytest.raises(ConversationNotFound):
        await keyed(hold, lambda: answered(storage.conversations.append(ALICE, "conv_x", []), lambda _: MADE))
    await storage.keys.release(hold)
    assert await storage.keys.claim(hold, "f") == hold


async def test_a_call_that_changes_nothing_marks_nothing(storage: Storage) -> None:
    hold = hold_of()
    await storage.keys.claim(hold, "f")
    await keyed(hold, lambda: answered(storage.conversations.create(ALICE, conversation(), []), lambda _: None))
    await storage.keys.release(hold)
    assert await storage.keys.claim(hold, "f") == hold


@pytest.mark.parametrize(
    ("end", "result"),
    [("completed", '{"status":"completed","output":[]}'), ("failed", None), (None, None)],
)
async def test_a_lost_turn_is_known_by_its_response_and_what_came_of_it_if_anything_did(
    path: Path, end: str | None, result: str | None
) -> None:
    async with doomed(path) as storage:
        hold, turn = hold_of(), response()
        await storage.keys.claim(hold, "f")
        await keyed(hold, lambda: storage.responses.claim(ALICE, claim_of(turn)))
        if end is not None:
            await keyed(hold, lambda: storage.responses.commit(ALICE, commit_of(turn, status=end)))
    async with opened(path) as storage:
        assert await storage.keys.claim(hold_of(), "f") == LostAnswer(turn.id, result)


async def test_a_turn_that_was_undone_has_not_begun(path: Path) -> None:
    async with doomed(path) as storage:
        hold, turn = hold_of(), response()
        await storage.keys.claim(hold, "f")
        await keyed(hold, lambda: storage.responses.claim(ALICE, claim_of(turn)))
        await keyed(hold, lambda: storage.responses.unclaim(ALICE, turn.id, None))
    async with opened(path) as storage:
        hold = hold_of()
        assert await storage.keys.claim(hold, "f") == hold


async def test_a_renewed_lease_keeps_a_key_and_another_one_runs_out(database: SqliteDatabase, path: Path) -> None:
    renewed, left = hold_of("renewed"), hold_of("left")
    hasty = SqlIdempotencyStore(database, EXPIRED)
    for hold in (renewed, left):
        await hasty.claim(hold, "f")
    await SqlIdempotencyStore(database, LEASE_SECONDS).renew_leases([renewed.holder])
    assert isinstance(await hasty.claim(hold_of("renewed"), "f"), KeyBusy)
    assert isinstance(await hasty.claim(hold_of("left"), "f"), KeyHold)
    assert len(rows(path, "SELECT key FROM idempotency_keys WHERE lease_holder IS NOT NULL")) == 2


async def test_a_result_that_is_too_long_is_marked_and_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "MAX_KEPT_CHARACTERS", 3)
    async with doomed(path) as storage:
        hold = hold_of()
        await storage.keys.claim(hold, "f")
        await keyed(hold, lambda: answered(storage.conversations.create(ALICE, conversation(), []), lambda _: MADE))
    async with opened(path) as storage:
        assert await storage.keys.claim(hold_of(), "f") == LostAnswer(None, None)


async def test_an_old_key_is_free_again_unless_its_request_still_runs(database: SqliteDatabase) -> None:
    keys = SqlIdempotencyStore(database, LEASE_SECONDS, kept_seconds=-1)
    hold, other = hold_of(), hold_of()
    await keys.claim(hold, "f")
    assert isinstance(await keys.claim(other, "f"), KeyBusy)
    await keys.keep(hold, ANSWER)
    assert await keys.claim(other, "other") == other


async def test_old_keys_are_forgotten_in_batches_and_the_others_stay(
    database: SqliteDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_idempotency, "PURGE_BATCH", 2)
    young, old = SqlIdempotencyStore(database, LEASE_SECONDS), SqlIdempotencyStore(database, LEASE_SECONDS, -1)
    for number in range(3):
        hold = hold_of(f"done{number}")
        await young.claim(hold, "f")
        await young.keep(hold, ANSWER)
    await young.claim(hold_of("runs"), "f")
    assert await young.purge() == 0
    assert [await old.purge() for _ in range(3)] == [2, 1, 0]
    assert rows(path, "SELECT key FROM idempotency_keys") == [("runs",)]
