"""The response store: turns as two transactions, chains, pages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from llama_conversations.errors import (
    ConversationLocked,
    ConversationNotFound,
    CursorNotFound,
    DuplicateItem,
    PreviousResponseNotFound,
    ResponseNotFound,
)
from llama_conversations.ids import new_id, partition_in
from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import HistoryMark, PageQuery, TurnClaim, join_response
from llama_conversations.storage.sql_conversations import SqlConversationStore
from llama_conversations.storage.sql_responses import SqlResponseStore
from unit.storage.support import (
    ALICE,
    EVERY_DATABASE,
    LEASE_SECONDS,
    CountingDatabase,
    claim_of,
    commit_of,
    conversation,
    item,
    response,
    rows,
    stored_response,
    texts,
)

pytestmark = EVERY_DATABASE

UNKNOWN = new_id("resp")


async def test_a_claim_stores_the_response_in_progress_and_answers_with_the_end_of_the_conversation(
    storage: Storage,
) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [item("a"), item("b")])
    claimed = response(conversation_id=record.id, input='[{"id":"m"}]', head='{"id":"x"}')
    assert await storage.responses.claim(ALICE, claim_of(claimed)) == HistoryMark(0, 2)
    found = await storage.responses.get(ALICE, claimed.id)
    assert (found.status, found.context_position, found.conversation_id) == ("in_progress", 2, record.id)
    assert found.body == '{"id":"x","output":[]}'


async def test_a_turn_without_a_conversation_has_no_position(storage: Storage) -> None:
    claimed = response()
    assert await storage.responses.claim(ALICE, claim_of(claimed)) is None
    assert await storage.responses.get(ALICE, claimed.id) == claimed


async def test_a_commit_appends_ends_the_response_and_unlocks_at_once(storage: Storage, path: Path) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [item("before")])
    claimed = response(conversation_id=record.id)
    await storage.responses.claim(ALICE, claim_of(claimed))
    await storage.conversations.append(ALICE, record.id, [item("meanwhile")])
    output = '[{"id":"out"}]'
    await storage.responses.commit(ALICE, commit_of(claimed, item("in"), item("out"), output=output))
    assert await texts(storage, record.id) == ["before", "meanwhile", "in", "out"]
    found = await storage.responses.get(ALICE, claimed.id)
    assert (found.status, found.output, found.context_position) == ("completed", output, 1)
    assert rows(path, "SELECT lease_holder, lease_node, lease_expires_at FROM conversations") == [(None, None, None)]
    assert rows(path, "SELECT lease_node, lease_expires_at FROM responses") == [(None, None)]
    assert rows(path, "SELECT next_position FROM conversations") == [(4,)]


async def test_a_commit_that_fails_stores_nothing_and_keeps_the_lease(storage: Storage) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [item("held")])
    claimed = response(conversation_id=record.id)
    await storage.responses.claim(ALICE, claim_of(claimed))
    for items in ([item("new"), item("held")], [item("new"), item("new")]):
        with pytest.raises(DuplicateItem):
            await storage.responses.commit(ALICE, commit_of(claimed, *items))
    assert await texts(storage, record.id) == ["held"]
    assert (await storage.responses.get(ALICE, claimed.id)).status == "in_progress"
    with pytest.raises(ConversationLocked):
        await storage.responses.claim(ALICE, claim_of(response(conversation_id=record.id)))


async def test_a_failed_turn_appends_nothing_and_unlocks(storage: Storage) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    claimed = response(conversation_id=record.id)
    await storage.responses.claim(ALICE, claim_of(claimed))
    await storage.responses.commit(ALICE, commit_of(claimed, status="failed", head='{"status":"failed"}'))
    assert await texts(storage, record.id) == []
    assert (await storage.responses.get(ALICE, claimed.id)).status == "failed"
    assert await storage.responses.claim(ALICE, claim_of(response(conversation_id=record.id))) == HistoryMark(0, 0)


async def test_a_turn_that_is_not_stored_still_locks_and_appends(storage: Storage, path: Path) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    turn = response(conversation_id=record.id)
    assert await storage.responses.claim(ALICE, TurnClaim(turn.id, record.id, None)) == HistoryMark(0, 0)
    with pytest.raises(ConversationLocked):
        await storage.responses.claim(ALICE, claim_of(response(conversation_id=record.id)))
    await storage.responses.commit(ALICE, commit_of(turn, item("a"), stored=False))
    assert await texts(storage, record.id) == ["a"]
    assert rows(path, "SELECT * FROM responses") == []


async def test_a_conversation_that_is_unknown_cannot_be_claimed_and_no_response_is_left(
    storage: Storage, path: Path
) -> None:
    with pytest.raises(ConversationNotFound):
        await storage.responses.claim(ALICE, claim_of(response(conversation_id=new_id("conv"))))
    assert rows(path, "SELECT * FROM responses") == []


async def test_a_conversation_deleted_during_its_turn_gains_nothing_and_the_response_is_kept(
    storage: Storage, path: Path
) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    claimed = response(conversation_id=record.id)
    await storage.responses.claim(ALICE, claim_of(claimed))
    await storage.conversations.delete(ALICE, record.id)
    await storage.responses.commit(ALICE, commit_of(claimed, item("lost")))
    assert (await storage.responses.get(ALICE, claimed.id)).status == "completed"
    assert rows(path, "SELECT * FROM conversation_items") == []


async def test_a_response_deleted_during_its_turn_stays_deleted_and_the_conversation_gains(storage: Storage) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    claimed = response(conversation_id=record.id)
    await storage.responses.claim(ALICE, claim_of(claimed))
    await storage.responses.delete(ALICE, claimed.id)
    await storage.responses.commit(ALICE, commit_of(claimed, item("kept")))
    assert await texts(storage, record.id) == ["kept"]
    with pytest.raises(ResponseNotFound):
        await storage.responses.get(ALICE, claimed.id)


async def test_unclaiming_leaves_nothing_of_the_turn(storage: Storage, path: Path) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    claimed = response(conversation_id=record.id)
    await storage.responses.claim(ALICE, claim_of(claimed))
    await storage.responses.unclaim(ALICE, claimed.id, record.id)
    assert rows(path, "SELECT * FROM responses") == []
    assert await storage.responses.claim(ALICE, claim_of(response(conversation_id=record.id))) == HistoryMark(0, 0)


async def test_unclaiming_what_was_never_claimed_takes_nobodys_lease(storage: Storage) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    holder = response(conversation_id=record.id)
    await storage.responses.claim(ALICE, claim_of(holder))
    await storage.responses.unclaim(ALICE, UNKNOWN, record.id)
    await storage.responses.unclaim(ALICE, UNKNOWN, None)
    with pytest.raises(ConversationLocked):
        await storage.responses.claim(ALICE, claim_of(response(conversation_id=record.id)))


async def test_of_many_turns_at_once_one_gets_the_conversation(storage: Storage, path: Path) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    turns = [response(conversation_id=record.id) for _ in range(30)]
    claims = (storage.responses.claim(ALICE, claim_of(turn)) for turn in turns)
    results = await asyncio.gather(*claims, return_exceptions=True)
    assert sorted(str(type(result).__name__) for result in results) == ["ConversationLocked"] * 29 + ["HistoryMark"]
    assert len(rows(path, "SELECT * FROM responses")) == 1


async def test_a_response_is_deleted_once(storage: Storage) -> None:
    stored = await stored_response(storage)
    await storage.responses.delete(ALICE, stored.id)
    for call in (storage.responses.delete, storage.responses.get):
        with pytest.raises(ResponseNotFound) as found:
            await call(ALICE, stored.id)
        assert found.value.response_id == stored.id


async def test_responses_outlive_their_conversation(storage: Storage) -> None:
    record = conversation()
    await storage.conversations.create(ALICE, record, [])
    stored = await stored_response(storage, conversation_id=record.id)
    await storage.conversations.delete(ALICE, record.id)
    assert (await storage.responses.get(ALICE, stored.id)).conversation_id == record.id


async def test_a_chain_of_a_thousand_responses_is_read_oldest_first(storage: Storage) -> None:
    ids = [new_id("resp") for _ in range(1000)]
    turns = [
        response(id=own, previous_response_id=previous, input=f'[{{"id":"{n}"}}]')
        for n, (own, previous) in enumerate(zip(ids, [None, *ids], strict=False))
    ]
    await asyncio.gather(*(storage.responses.claim(ALICE, claim_of(turn)) for turn in turns))
    chain = await storage.responses.chain(ALICE, ids[-1])
    assert [link.id for link in chain] == ids
    assert [link.input for link in chain[:2]] == ['[{"id":"0"}]', '[{"id":"1"}]']
    assert [link.id for link in await storage.responses.chain(ALICE, ids[2])] == ids[:3]
    assert [await storage.responses.chain_length(ALICE, ids[n]) for n in (0, 2, 999)] == [1, 3, 1000]


async def test_a_broken_chain_names_the_response_that_is_missing(storage: Storage) -> None:
    first = await stored_response(storage)
    second = await stored_response(storage, previous_response_id=first.id)
    third = await stored_response(storage, previous_response_id=second.id)
    await storage.responses.delete(ALICE, first.id)
    for broken, missing in ((third.id, first.id), (second.id, first.id), (first.id, first.id), (UNKNOWN, UNKNOWN)):
        with pytest.raises(PreviousResponseNotFound) as found:
            await storage.responses.chain(ALICE, broken)
        assert found.value.response_id == missing
    assert [await storage.responses.chain_length(ALICE, link.id) for link in (first, second, third)] == [0, 1, 2]


async def test_two_turns_may_continue_one_response(storage: Storage) -> None:
    first = await stored_response(storage)
    left, right = [await stored_response(storage, previous_response_id=first.id) for _ in "lr"]
    for link in (left, right):
        assert [found.id for found in await storage.responses.chain(ALICE, link.id)] == [first.id, link.id]


async def test_an_item_is_found_in_the_input_or_the_output_of_a_response_of_its_partition(storage: Storage) -> None:
    turn = response()
    partition = partition_in(turn.id)
    put, got, other = (new_id("msg", partition) for _ in range(3))
    big = 2**70
    await storage.responses.claim(ALICE, claim_of(response(id=turn.id, input=f'[{{"id":"{put}","n":{big}}}]')))
    output = f'[{{"id":"{other}","see":"{got}"}},{{"id":"{got}","text":"größe"}}]'
    await storage.responses.commit(ALICE, commit_of(turn, output=output))
    found = await storage.responses.find_item(ALICE, put)
    assert found is not None
    assert json.loads(found) == {"id": put, "n": big}
    assert await storage.responses.find_item(ALICE, got) == f'{{"id":"{got}","text":"größe"}}'
    for unknown in (new_id("msg", partition), new_id("msg"), "chosen", got.replace("_", "x"), got.upper(), ""):
        assert await storage.responses.find_item(ALICE, unknown) is None


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_responses_are_listed_by_creation_in_pages_both_ways(
    storage: Storage, limit: int, descending: bool
) -> None:
    records = [await stored_response(storage, **({"created_at": 5} if n < 3 else {})) for n in range(7)]
    ordered = sorted(records, key=lambda record: (record.created_at, record.id), reverse=descending)
    forward, cursor, has_more = [], None, True
    while has_more:
        page = await storage.responses.list(ALICE, PageQuery(limit, descending, after=cursor), None)
        forward, has_more = [*forward, *page.entries], page.has_more
        cursor = forward[-1].id
    assert forward == ordered
    backward, cursor, has_more = [ordered[-1]], ordered[-1].id, True
    while has_more:
        page = await storage.responses.list(ALICE, PageQuery(limit, descending, before=cursor), None)
        backward, has_more = [*page.entries, *backward], page.has_more
        cursor = backward[0].id
    assert backward == ordered


async def test_responses_of_one_model_are_listed_alone(storage: Storage) -> None:
    records = [await stored_response(storage, model=model) for model in ("a", "b", "a", "a")]
    page = await storage.responses.list(ALICE, PageQuery(2, descending=False), "a")
    assert ([entry.id for entry in page.entries], page.has_more) == ([records[0].id, records[2].id], True)
    page = await storage.responses.list(ALICE, PageQuery(2, descending=False, after=records[1].id), "a")
    assert ([entry.id for entry in page.entries], page.has_more) == ([records[2].id, records[3].id], False)
    assert (await storage.responses.list(ALICE, PageQuery(2, descending=False), "c")).entries == []


async def test_a_page_of_responses_continues_only_at_a_response(storage: Storage) -> None:
    for query in (PageQuery(1, True, after=UNKNOWN), PageQuery(1, True, before=UNKNOWN)):
        with pytest.raises(CursorNotFound):
            await storage.responses.list(ALICE, query, None)


async def test_a_turn_is_two_transactions_and_each_of_few_statements(database: SqliteDatabase) -> None:
    counting = CountingDatabase(database)
    conversations, responses = SqlConversationStore(counting), SqlResponseStore(counting, LEASE_SECONDS)
    record = conversation()
    await conversations.create(ALICE, record, [])
    counting.transactions.clear()
    claimed = response(conversation_id=record.id)
    await responses.claim(ALICE, claim_of(claimed))
    await responses.commit(ALICE, commit_of(claimed, item(), item()))
    alone = response()
    await responses.claim(ALICE, claim_of(alone))
    await responses.commit(ALICE, commit_of(alone))
    await responses.chain(ALICE, alone.id)
    assert [(transaction.kind, transaction.statements) for transaction in counting.transactions] == [
        ("write", 2),  # the lease, the response
        ("write", 4),  # the lease and the positions, two items, the response
        ("write", 1),
        ("write", 1),
        ("read", 1),
    ]


async def test_a_turn_writes_as_much_in_a_long_conversation_as_in_a_short_one(database: SqliteDatabase) -> None:
    counting = CountingDatabase(database)
    conversations, responses = SqlConversationStore(counting), SqlResponseStore(counting, LEASE_SECONDS)
    record = conversation()
    await conversations.create(ALICE, record, [])
    written = []
    for n in range(60):
        turn = response(conversation_id=record.id, input=f'[{{"id":"i{n:03}"}}]')
        counting.transactions.clear()
        await responses.claim(ALICE, claim_of(turn))
        await responses.commit(ALICE, commit_of(turn, item(f"i{n:03}"), item(), output='[{"id":"o"}]'))
        steps = [step for transaction in counting.transactions for step in transaction.steps]
        written.append(sum(len(repr(step.parameters)) for step in steps))
    assert max(written[1:]) - min(written[1:]) < 20  # the digits of positions and times


def test_a_response_is_joined_from_its_parts_without_reading_them() -> None:
    assert json.loads(join_response('{"id":"r","n":1}', '[{"id":"m"}]')) == {"id": "r", "n": 1, "output": [{"id": "m"}]}
