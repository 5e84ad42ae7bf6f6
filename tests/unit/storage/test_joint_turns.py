"""Turns that begin or end at once share their statements, and each is as it would be alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from llama_conversations.access import AccessScope
from llama_conversations.errors import ConversationLocked, ConversationNotFound, TurnLost
from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import ConversationRecord, HistoryMark, ItemRecord, ResponseRecord, TurnClaim
from llama_conversations.storage.sql_conversations import SqlConversationStore
from llama_conversations.storage.sql_responses import SqlResponseStore
from unit.storage.support import (
    ALICE,
    BOB,
    EVERY_DATABASE,
    LEASE_SECONDS,
    change,
    claim_of,
    commit_of,
    conversation,
    item,
    response,
    rows,
    texts,
)
from unit.storage.test_group_commit import statements_of_writer, submitted, writer_held

SCOPES = (ALICE, BOB)
CONVERSATIONS = 24
ENDED = '{"status":"completed"}'

Turn = tuple[AccessScope, ResponseRecord]


async def new_conversations(storage: Storage, *items: ItemRecord) -> list[tuple[AccessScope, ConversationRecord]]:
    made = [(SCOPES[n % 2], conversation()) for n in range(CONVERSATIONS)]
    for scope, record in made:
        await storage.conversations.create(scope, record, list(items))
    return made


async def begun_turns(storage: Storage) -> list[Turn]:
    turns = [
        (scope, response(conversation_id=record.id))
        for scope, record in await new_conversations(storage, item("before"))
    ]
    await asyncio.gather(*(storage.responses.claim(scope, claim_of(turn)) for scope, turn in turns))
    return turns


def kinds(results: Sequence[object]) -> list[type]:
    return [type(result) for result in results]


@EVERY_DATABASE
async def test_turns_that_begin_at_once_each_lease_their_conversation_and_know_how_far_it_reaches(
    storage: Storage, path: Path
) -> None:
    made = await new_conversations(storage, item("a"), item("b"))
    turns = [(scope, response(conversation_id=record.id)) for scope, record in made]
    alone = [(ALICE, response()) for _ in range(5)]
    marks = await asyncio.gather(
        *(storage.responses.claim(scope, claim_of(turn)) for scope, turn in [*turns, *alone]),
    )
    assert marks == [HistoryMark(0, 2)] * CONVERSATIONS + [None] * 5
    leases = dict(rows(path, "SELECT id, lease_holder FROM conversations"))  # type: ignore[arg-type]
    assert leases == {turn.conversation_id: turn.id for _, turn in turns}
    for table in ("conversations", "responses"):
        assert rows(path, f"SELECT * FROM {table} WHERE lease_node IS NULL OR lease_expires_at IS NULL") == []
    for (scope, turn), position in [*((turn, 2) for turn in turns), *((turn, None) for turn in alone)]:
        found = await storage.responses.get(scope, turn.id)
        assert (found.status, found.context_position) == ("in_progress", position)
    ends = [span for (span,) in rows(path, "SELECT MAX(lease_expires_at) - MIN(lease_expires_at) FROM responses")]
    assert int(str(ends[0])) < LEASE_SECONDS * 1000


@EVERY_DATABASE
async def test_of_turns_that_begin_at_once_in_one_conversation_one_does(storage: Storage, path: Path) -> None:
    made = (await new_conversations(storage))[:4]
    turns = [(scope, response(conversation_id=record.id)) for scope, record in made for _ in range(5)]
    claims = (storage.responses.claim(scope, claim_of(turn)) for scope, turn in turns)
    results = await asyncio.gather(*claims, return_exceptions=True)
    for n in range(4):
        found = kinds(results[5 * n : 5 * n + 5])
        assert sorted(kind.__name__ for kind in found) == ["ConversationLocked"] * 4 + ["HistoryMark"]
    begun = {turn.id for (_, turn), result in zip(turns, results, strict=True) if isinstance(result, HistoryMark)}
    assert {str(found) for (found,) in rows(path, "SELECT id FROM responses")} == begun


@EVERY_DATABASE
async def test_who_cannot_begin_is_told_why_and_the_others_begin(storage: Storage, path: Path) -> None:
    mine, theirs, busy, expired = conversation(), conversation(), conversation(), conversation()
    for scope, record in ((ALICE, mine), (BOB, theirs), (ALICE, busy), (ALICE, expired)):
        await storage.conversations.create(scope, record, [])
    for record in (busy, expired):
        await storage.responses.claim(ALICE, TurnClaim("resp_before", record.id, None))
    change(path, f"UPDATE conversations SET lease_expires_at = 1 WHERE id = '{expired.id}'")
    asked = [(ALICE, mine), (ALICE, theirs), (ALICE, busy), (ALICE, expired), (ALICE, conversation()), (BOB, theirs)]
    turns = [(scope, response(conversation_id=record.id)) for scope, record in asked]
    claims = (storage.responses.claim(scope, claim_of(turn)) for scope, turn in turns)
    results = await asyncio.gather(*claims, return_exceptions=True)
    nowhere = ConversationNotFound
    assert kinds(results) == [HistoryMark, nowhere, ConversationLocked, HistoryMark, nowhere, HistoryMark]
    begun = {turn.id for (_, turn), result in zip(turns, results, strict=True) if isinstance(result, HistoryMark)}
    assert {str(found) for (found,) in rows(path, "SELECT id FROM responses")} == begun


@EVERY_DATABASE
async def test_turns_that_end_at_once_are_each_whole(storage: Storage, path: Path) -> None:
    turns = await begun_turns(storage)
    made = {turn.id: [item() for _ in range(n % 4)] for n, (_, turn) in enumerate(turns)}
    outputs = {turn.id: f'[{{"id":"{n}"}}]' for n, (_, turn) in enumerate(turns)}
    marks = await asyncio.gather(
        *(
            storage.responses.commit(scope, commit_of(turn, *made[turn.id], output=outputs[turn.id]))
            for scope, turn in turns
        )
    )
    assert marks == [HistoryMark(0, 1 + len(made[turn.id])) for _, turn in turns]
    for scope, turn in turns:
        assert turn.conversation_id is not None
        assert await texts(storage, turn.conversation_id, scope) == ["before", *(entry.id for entry in made[turn.id])]
        found = await storage.responses.get(scope, turn.id)
        assert (found.status, found.head, found.output) == ("completed", ENDED, outputs[turn.id])
    held = "lease_node IS NOT NULL OR lease_expires_at IS NOT NULL"
    assert rows(path, f"SELECT * FROM conversations WHERE lease_holder IS NOT NULL OR {held}") == []
    assert rows(path, f"SELECT * FROM responses WHERE {held}") == []
    for scope, turn in turns:  # the next turn's items stand behind these
        following = response(conversation_id=turn.conversation_id)
        mark = await storage.responses.claim(scope, claim_of(following))
        assert mark == HistoryMark(0, 1 + len(made[turn.id]))


@EVERY_DATABASE
async def test_a_turn_that_was_lost_is_told_and_the_others_end(storage: Storage, path: Path) -> None:
    turns = await begun_turns(storage)
    change(path, f"UPDATE conversations SET lease_holder = 'resp_other' WHERE id = '{turns[0][1].conversation_id}'")
    change(path, f"UPDATE responses SET lease_node = NULL, status = 'failed' WHERE id = '{turns[1][1].id}'")
    change(path, f"UPDATE responses SET lease_node = 'other' WHERE id = '{turns[2][1].id}'")
    commits = (storage.responses.commit(scope, commit_of(turn, item())) for scope, turn in turns)
    results = await asyncio.gather(*commits, return_exceptions=True)
    assert kinds(results) == [TurnLost] * 3 + [HistoryMark] * (CONVERSATIONS - 3)
    for n, (scope, turn) in enumerate(turns):
        assert len(await texts(storage, turn.conversation_id or "", scope)) == (1 if n < 3 else 2)
        assert (await storage.responses.get(scope, turn.id)).status == (
            "failed" if n == 1 else "in_progress" if n < 3 else "completed"
        )


@EVERY_DATABASE
async def test_a_conversation_or_response_that_was_deleted_meanwhile_gains_nothing_and_the_others_end(
    storage: Storage,
) -> None:
    turns = await begun_turns(storage)
    (scope, without_conversation), (other_scope, without_response) = turns[:2]
    await storage.conversations.delete(scope, without_conversation.conversation_id or "")
    await storage.responses.delete(other_scope, without_response.id)
    marks = await asyncio.gather(
        *(storage.responses.commit(scope, commit_of(turn, item("after"))) for scope, turn in turns[:2]),
        *(storage.responses.commit(scope, commit_of(turn, item())) for scope, turn in turns[2:]),
    )
    assert marks == [None, *[HistoryMark(0, 2)] * (CONVERSATIONS - 1)]
    assert (await storage.responses.get(scope, without_conversation.id)).status == "completed"
    assert await texts(storage, without_response.conversation_id or "", other_scope) == ["before", "after"]


@EVERY_DATABASE
async def test_turns_of_which_nothing_is_stored_or_that_have_no_conversation_end_beside_others(
    storage: Storage, path: Path
) -> None:
    turns = await begun_turns(storage)
    alone = response()
    kept = conversation()
    await storage.conversations.create(ALICE, kept, [])
    unkept = response(conversation_id=kept.id)
    await storage.responses.claim(ALICE, claim_of(alone))
    await storage.responses.claim(ALICE, TurnClaim(unkept.id, kept.id, None))
    marks = await asyncio.gather(
        storage.responses.commit(ALICE, commit_of(alone)),
        storage.responses.commit(ALICE, commit_of(unkept, item(), stored=False)),
        *(
            storage.responses.commit(scope, commit_of(turn, status="failed", head='{"status":"failed"}'))
            for scope, turn in turns
        ),
    )
    assert marks == [None, HistoryMark(0, 1), *[HistoryMark(0, 1)] * CONVERSATIONS]
    assert (await storage.responses.get(ALICE, alone.id)).status == "completed"
    assert len(await texts(storage, kept.id)) == 1
    assert rows(path, f"SELECT id FROM responses WHERE id = '{unkept.id}'") == []
    assert {(await storage.responses.get(scope, turn.id)).status for scope, turn in turns} == {"failed"}
    assert rows(path, "SELECT id FROM conversations WHERE lease_holder IS NOT NULL") == []


async def test_a_group_of_turns_costs_few_statements(database: SqliteDatabase) -> None:
    conversations, responses = SqlConversationStore(database), SqlResponseStore(database, LEASE_SECONDS)
    records = [conversation() for _ in range(20)]
    for record in records:
        await conversations.create(ALICE, record, [])
    turns = [response(conversation_id=record.id) for record in records]
    with statements_of_writer(database) as statements:
        async with writer_held(database):
            begun = [asyncio.ensure_future(responses.claim(ALICE, claim_of(turn))) for turn in turns]
            await submitted(*begun)
            statements.clear()
        await asyncio.gather(*begun)
        claims = [statement.split()[0] for statement in statements if not statement.startswith("--")]
        async with writer_held(database, "held again"):
            ended = [asyncio.ensure_future(responses.commit(ALICE, commit_of(turn, item(), item()))) for turn in turns]
            await submitted(*ended)
            statements.clear()
        await asyncio.gather(*ended)
        commits = [statement.split()[0] for statement in statements if not statement.startswith("--")]
    assert claims[-6:] == ["SAVEPOINT", "SELECT", "UPDATE", "INSERT", "RELEASE", "COMMIT"]
    assert commits[-27:] == [
        *("SAVEPOINT", "SELECT", "SELECT", "UPDATE", "INSERT"),
        *["UPDATE"] * 20,  # each response has a text of its own
        *("RELEASE", "COMMIT"),
    ]
