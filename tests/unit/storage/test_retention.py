"""What is too old goes: in batches, for every owner, by one process at a time, and nothing that is in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from llama_conversations.access import AccessScope
from llama_conversations.errors import ConversationNotFound, ResponseNotFound
from llama_conversations.services.retention import RetentionKeeper, RetentionSettings
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import MICROSECONDS, ConversationRecord, now_us
from llama_conversations.storage.sql_retention import CONVERSATIONS_AT_ONCE, RESPONSES_AT_ONCE
from unit.storage.support import (
    ALICE,
    BOB,
    OTHER_TENANT,
    claim_of,
    conversation,
    item,
    opened,
    response,
    rows,
    stored_response,
)

DAY = 24 * 3600 * MICROSECONDS


def ago(days: float) -> int:
    return now_us() - int(days * DAY)


def age_items(path: Path, conversation_id: str, days: float) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        sql = "UPDATE conversation_items SET created_at = ? WHERE conversation_id = ?"
        connection.execute(sql, (ago(days), conversation_id))


async def exists(storage: Storage, scope: AccessScope, record_id: str) -> bool:
    try:
        await (storage.conversations if record_id.startswith("conv") else storage.responses).get(scope, record_id)
    except (ConversationNotFound, ResponseNotFound):
        return False
    return True


async def one_pass(storage: Storage, **settings: float) -> None:
    assert await storage.retention.begin()
    await RetentionKeeper(storage.retention, RetentionSettings(**settings))._pass()


async def test_old_responses_of_every_owner_go_in_batches_and_running_ones_stay(storage: Storage, path: Path) -> None:
    scopes = (ALICE, BOB, OTHER_TENANT)
    young = [(scope, await stored_response(storage, scope, created_at=ago(29))) for scope in scopes]
    old = [(scope, await stored_response(storage, scope, created_at=ago(31))) for scope in scopes]
    for _ in range(RESPONSES_AT_ONCE + 1):
        await stored_response(storage, ALICE, created_at=ago(40))
    running = response(created_at=ago(50))
    await storage.responses.claim(ALICE, claim_of(running))
    await one_pass(storage, responses=30)
    assert all([await exists(storage, scope, record.id) for scope, record in young])
    assert not any([await exists(storage, scope, record.id) for scope, record in old])
    assert await exists(storage, ALICE, running.id)
    assert rows(path, "SELECT count(*) FROM responses") == [(4,)]


async def test_conversations_go_that_are_idle_for_too_long_and_are_not_in_use(storage: Storage, path: Path) -> None:
    async def made(days: float, items: int = 1, items_days: float | None = None) -> ConversationRecord:
        record = conversation(created_at=ago(days))
        await storage.conversations.create(ALICE, record, [item() for _ in range(items)])
        if items_days is not None:
            age_items(path, record.id, items_days)
        return record

    idle, empty, young = await made(100, 2, 91), await made(100, 0), await made(89, 1, 89)
    active = await made(100, 1, 100)
    await storage.conversations.append(ALICE, active.id, [item()])
    locked = await made(100, 1, 100)
    turn = response(conversation_id=locked.id)
    await storage.responses.claim(ALICE, claim_of(turn))
    many = [await made(200, 0) for _ in range(CONVERSATIONS_AT_ONCE + 1)]
    await storage.conversations.create(BOB, theirs := conversation(created_at=ago(1)), [])
    await one_pass(storage, conversations=90)
    assert await exists(storage, BOB, theirs.id)
    left = [one.id for one in (idle, empty, young, active, locked, *many) if await exists(storage, ALICE, one.id)]
    assert left == [young.id, active.id, locked.id]
    assert rows(path, "SELECT count(*) FROM conversation_items") == [(4,)]
    assert await exists(storage, ALICE, turn.id)


async def test_one_process_at_a_time_makes_a_pass_and_none_before_it_is_due(path: Path, storage: Storage) -> None:
    async with opened(path) as other:
        assert await storage.retention.begin()
        assert not await other.retention.begin()
        assert await other.retention.delete_responses(ALICE, ago(0)) is None
        assert await other.retention.delete_conversations(ALICE, ago(0), None) is None
        await storage.retention.rest(600)
        assert not await other.retention.begin()
        await storage.retention.rest(-1)
        assert await other.retention.begin()
        assert await storage.retention.delete_responses(ALICE, ago(0)) is None
