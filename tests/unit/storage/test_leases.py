"""Leases: a conversation has one turn at a time, and none for ever."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llama_conversations.errors import ConversationLocked, TurnLost
from llama_conversations.storage import sql_leases
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import ResponseRecord, TurnClaim
from unit.storage.support import (
    ALICE,
    BOB,
    EVERY_DATABASE,
    LOCAL_DATABASE,
    change,
    claim_of,
    commit_of,
    conversation,
    item,
    opened,
    response,
    rows,
    texts,
)

pytestmark = EVERY_DATABASE

TESTS = Path(__file__).parents[2]
EXPIRED = 0.0
"""Seconds: a lease that has run out as soon as the clock moves on."""

CLAIM_AND_WAIT = """
import asyncio, sys
from pathlib import Path
from unit.storage.support import ALICE, claim_of, item, opened, response

async def main():
    async with opened(Path(sys.argv[1]), lease_seconds=3600) as storage:
        for conversation_id in (sys.argv[2], None):
            turn = response(conversation_id=conversation_id)
            await storage.responses.claim(ALICE, claim_of(turn))
            print(turn.id, flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


def failed(head: str) -> str:
    return f'{{"was":{head}}}'


async def created(storage: Storage) -> str:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    return record.id


async def claimed(storage: Storage, conversation_id: str | None, **fields: object) -> ResponseRecord:
    turn = response(conversation_id=conversation_id, **fields)
    await storage.responses.claim(ALICE, claim_of(turn))
    return turn


async def status(storage: Storage, turn: ResponseRecord) -> str:
    return (await storage.responses.get(ALICE, turn.id)).status


def killable_claimer(path: Path, conversation_id: str) -> subprocess.Popen[str]:
    """A process that claims two turns, says their ids, and does nothing more."""
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_WAIT, str(path), conversation_id],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.fixture
def expire_leases(path: Path) -> Callable[[], None]:
    """Lets every lease run out, as the time would."""

    def expire() -> None:
        for table in ("conversations", "responses"):
            change(path, f"UPDATE {table} SET lease_expires_at = 1 WHERE lease_node IS NOT NULL")

    return expire


async def test_a_leased_conversation_is_locked_for_everybody_and_nothing_is_stored_of_the_second_turn(
    storage: Storage, path: Path
) -> None:
    conversation_id = await created(storage)
    turn = await claimed(storage, conversation_id)
    for claim in (claim_of(response(conversation_id=conversation_id)), TurnClaim("resp_x", conversation_id, None)):
        with pytest.raises(ConversationLocked) as found:
            await storage.responses.claim(ALICE, claim)
        assert found.value.conversation_id == conversation_id
    assert rows(path, "SELECT id FROM responses") == [(turn.id,)]


async def test_a_lease_that_ran_out_can_be_taken_and_the_turn_that_held_it_is_lost_with_all_it_would_store(
    storage: Storage, expire_leases: Callable[[], None]
) -> None:
    conversation_id = await created(storage)
    late = await claimed(storage, conversation_id)
    expire_leases()
    next_turn = await claimed(storage, conversation_id)
    with pytest.raises(TurnLost) as found:
        await storage.responses.commit(ALICE, commit_of(late, item("late")))
    assert found.value.response_id == late.id
    assert await texts(storage, conversation_id) == []
    assert await status(storage, late) == "in_progress"
    await storage.responses.commit(ALICE, commit_of(next_turn, item("next")))
    assert await texts(storage, conversation_id) == ["next"]


async def test_a_lease_that_ran_out_and_that_nobody_took_still_counts(
    storage: Storage, expire_leases: Callable[[], None]
) -> None:
    conversation_id = await created(storage)
    turn = await claimed(storage, conversation_id)
    expire_leases()
    await storage.responses.commit(ALICE, commit_of(turn, item("in time after all")))
    assert await status(storage, turn) == "completed"


@pytest.mark.parametrize("in_conversation", [True, False])
async def test_a_turn_that_was_swept_is_lost(
    storage: Storage, expire_leases: Callable[[], None], in_conversation: bool
) -> None:
    conversation_id = await created(storage) if in_conversation else None
    turn = await claimed(storage, conversation_id, head='{"a":1}')
    expire_leases()
    assert await storage.responses.sweep(failed) == [turn.id]
    with pytest.raises(TurnLost):
        await storage.responses.commit(ALICE, commit_of(turn, *([item("late")] if in_conversation else [])))
    found = await storage.responses.get(ALICE, turn.id)
    assert (found.status, found.head, found.output) == ("failed", '{"was":{"a":1}}', "[]")
    if conversation_id is not None:
        assert await texts(storage, conversation_id) == []
        await claimed(storage, conversation_id)


async def test_a_sweep_leaves_living_turns_alone(storage: Storage, expire_leases: Callable[[], None]) -> None:
    dead_in, alive_in = await created(storage), await created(storage)
    dead = await claimed(storage, dead_in)
    expire_leases()
    alive = await claimed(storage, alive_in)
    alone = await claimed(storage, None)
    assert await storage.responses.sweep(failed) == [dead.id]
    assert await storage.responses.sweep(failed) == []
    with pytest.raises(ConversationLocked):
        await claimed(storage, alive_in)
    assert [await status(storage, turn) for turn in (dead, alive, alone)] == ["failed", "in_progress", "in_progress"]


async def test_a_sweep_frees_a_conversation_whose_turn_is_not_stored(
    storage: Storage, expire_leases: Callable[[], None]
) -> None:
    conversation_id = await created(storage)
    await storage.responses.claim(ALICE, TurnClaim("resp_unstored", conversation_id, None))
    expire_leases()
    assert await storage.responses.sweep(failed) == []
    await claimed(storage, conversation_id)


async def test_a_sweep_takes_a_batch_and_the_next_one_the_rest(
    storage: Storage, expire_leases: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_leases, "SWEEP_BATCH", 3)
    turns = [await claimed(storage, None) for _ in range(5)]
    expire_leases()
    swept = [await storage.responses.sweep(failed) for _ in range(3)]
    assert [len(batch) for batch in swept] == [3, 2, 0]
    assert {found for batch in swept for found in batch} == {turn.id for turn in turns}


async def test_a_sweep_reaches_every_owner(storage: Storage, expire_leases: Callable[[], None]) -> None:
    turn = response()
    await storage.responses.claim(BOB, claim_of(turn))
    expire_leases()
    assert await storage.responses.sweep(failed) == [turn.id]


async def test_a_renewed_lease_lasts_and_what_was_not_renewed_runs_out(
    storage: Storage, expire_leases: Callable[[], None]
) -> None:
    kept_in, left_in = await created(storage), await created(storage)
    kept, left, alone = await claimed(storage, kept_in), await claimed(storage, left_in), await claimed(storage, None)
    expire_leases()
    await storage.responses.renew_leases([kept.id, alone.id])
    assert await storage.responses.sweep(failed) == [left.id]
    with pytest.raises(ConversationLocked):
        await claimed(storage, kept_in)
    await storage.responses.commit(ALICE, commit_of(kept))
    await storage.responses.commit(ALICE, commit_of(alone))


async def test_renewing_gives_no_lease_to_a_turn_that_has_ended(storage: Storage, path: Path) -> None:
    conversation_id = await created(storage)
    turn = await claimed(storage, conversation_id)
    await storage.responses.commit(ALICE, commit_of(turn))
    await storage.responses.renew_leases([turn.id])
    for table in ("conversations", "responses"):
        assert rows(path, f"SELECT lease_node, lease_expires_at FROM {table}") == [(None, None)]


async def test_a_turn_outlives_a_clock_that_is_put_back_and_the_next_renewal_knows_the_time(
    storage: Storage, path: Path
) -> None:
    conversation_id = await created(storage)
    turn = await claimed(storage, conversation_id)
    [(before,)] = rows(path, "SELECT lease_expires_at FROM conversations")
    for table in ("conversations", "responses"):  # which is the same as another time of the database's clock
        change(path, f"UPDATE {table} SET lease_expires_at = lease_expires_at + 3600000")
    assert await storage.responses.sweep(failed) == []
    with pytest.raises(ConversationLocked):
        await claimed(storage, conversation_id)
    await storage.responses.renew_leases([turn.id])
    [(renewed,)] = rows(path, "SELECT lease_expires_at FROM conversations")
    assert 0 <= int(str(renewed)) - int(str(before)) < 3_600_000
    await storage.responses.commit(ALICE, commit_of(turn, item("a")))
    assert await texts(storage, conversation_id) == ["a"]


async def test_a_node_does_not_renew_what_another_one_holds(
    storage: Storage, path: Path, expire_leases: Callable[[], None]
) -> None:
    conversation_id = await created(storage)
    async with opened(path) as other:
        turn = await claimed(other, conversation_id)
        expire_leases()
        await storage.responses.renew_leases([turn.id])
        assert await storage.responses.sweep(failed) == [turn.id]


@LOCAL_DATABASE
async def test_a_lease_runs_out_by_the_databases_clock(path: Path) -> None:
    async with opened(path, lease_seconds=EXPIRED) as storage:
        conversation_id = await created(storage)
        turn = await claimed(storage, conversation_id)
        [(expires_at,)] = rows(path, "SELECT lease_expires_at FROM conversations")
        clock = "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        while rows(path, clock)[0][0] <= expires_at:  # at most a millisecond
            await storage.health.ping()
        await claimed(storage, conversation_id)
        with pytest.raises(TurnLost):
            await storage.responses.commit(ALICE, commit_of(turn))


@LOCAL_DATABASE
async def test_turns_of_a_process_that_was_killed_are_failed_and_unlocked_at_once(storage: Storage, path: Path) -> None:
    conversation_id = await created(storage)
    process = killable_claimer(path, conversation_id)
    assert process.stdout is not None
    turns = [(await asyncio.to_thread(process.stdout.readline)).strip() for _ in range(2)]
    try:
        assert await storage.responses.sweep(failed) == []
        with pytest.raises(ConversationLocked):
            await claimed(storage, conversation_id)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate, timeout=20)
    assert sorted(await storage.responses.sweep(failed)) == sorted(turns)
    assert {(await storage.responses.get(ALICE, turn)).status for turn in turns} == {"failed"}
    await claimed(storage, conversation_id)


@LOCAL_DATABASE
async def test_a_sweep_without_leases_writes_nothing(storage: Storage, path: Path) -> None:
    [(before,)] = rows(path, "PRAGMA data_version")
    assert await storage.responses.sweep(failed) == ()
    assert rows(path, "PRAGMA data_version") == [(before,)]
