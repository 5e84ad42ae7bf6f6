"""The conversation store: what it keeps, in which order, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from llama_conversations.errors import ConversationNotFound, CursorNotFound, DuplicateItem, ItemNotFound
from llama_conversations.ids import new_id, partition_in
from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import HistoryMark, ItemRecord, PageQuery, TurnClaim
from llama_conversations.storage.sql_conversations import SqlConversationStore
from llama_conversations.storage.sql_responses import SqlResponseStore
from unit.storage.support import (
    ALICE,
    BOB,
    EVERY_DATABASE,
    LEASE_SECONDS,
    CountingDatabase,
    conversation,
    item,
    response,
    rows,
    texts,
)

pytestmark = EVERY_DATABASE

UNKNOWN = new_id("conv")


async def created(storage: Storage, *items: ItemRecord, **fields: object) -> str:
    record = conversation(**fields)
    await storage.conversations.create(ALICE, record, items)
    return record.id


async def pages(
    storage: Storage, conversation_id: str, limit: int, *, descending: bool
) -> tuple[list[str], Sequence[int]]:
    """The ids of all items, page by page, and the pages' sizes."""
    found: list[str] = []
    sizes = []
    after = None
    while True:
        page = await storage.conversations.list_items(
            ALICE, conversation_id, PageQuery(limit, descending=descending, after=after)
        )
        found += [entry.id for entry in page.entries]
        sizes.append(len(page.entries))
        if not page.has_more:
            return found, sizes
        after = found[-1]


async def test_a_conversation_is_kept_as_it_was_given(storage: Storage) -> None:
    record = conversation(metadata='{"topic":"größe"}')
    await storage.conversations.create(ALICE, record, [])
    assert await storage.conversations.get(ALICE, record.id) == record


async def test_first_items_keep_their_order_their_text_and_what_hides_of_them(storage: Storage) -> None:
    given = [item("b"), item(), item("a", masked='{"id":"a"}'), item(text="two \\u0000 words")]
    conversation_id = await created(storage, *given)
    page = await storage.conversations.list_items(ALICE, conversation_id, PageQuery(100, descending=False))
    assert [(entry.id, entry.type, entry.data, entry.masked) for entry in page.entries] == [
        (entry.id, entry.type, entry.data, entry.masked) for entry in given
    ]
    assert [entry.default_view for entry in page.entries] == [given[0].data, given[1].data, '{"id":"a"}', given[3].data]


async def test_metadata_is_replaced_as_a_whole(storage: Storage) -> None:
    record = conversation(metadata='{"a":"1"}')
    await storage.conversations.create(ALICE, record, [])
    updated = await storage.conversations.update_metadata(ALICE, record.id, '{"b":"2"}')
    assert (updated.id, updated.created_at, updated.metadata) == (record.id, record.created_at, '{"b":"2"}')
    assert await storage.conversations.get(ALICE, record.id) == updated


async def test_a_deleted_conversation_is_gone_with_its_items_and_a_second_delete_says_so(
    storage: Storage, path: Path
) -> None:
    gone, kept = await created(storage, item(), item()), await created(storage, item("kept"))
    await storage.conversations.delete(ALICE, gone)
    with pytest.raises(ConversationNotFound):
        await storage.conversations.delete(ALICE, gone)
    assert rows(path, "SELECT conversation_id, id FROM conversation_items") == [(kept, "kept")]


async def test_every_method_that_names_an_unknown_conversation_says_so_and_writes_nothing(
    storage: Storage, path: Path
) -> None:
    conversations = storage.conversations
    calls = [
        conversations.get(ALICE, UNKNOWN),
        conversations.update_metadata(ALICE, UNKNOWN, "{}"),
        conversations.delete(ALICE, UNKNOWN),
        conversations.append(ALICE, UNKNOWN, [item()]),
        conversations.append(ALICE, UNKNOWN, []),
        conversations.list_items(ALICE, UNKNOWN, PageQuery(1, descending=True)),
        conversations.get_item(ALICE, UNKNOWN, "a"),
        conversations.delete_item(ALICE, UNKNOWN, "a"),
        conversations.find_item(ALICE, "a", UNKNOWN),
    ]
    for call in calls:
        with pytest.raises(ConversationNotFound) as found:
            await call
        assert found.value.conversation_id == UNKNOWN
    assert rows(path, "SELECT * FROM conversation_items") == []


@pytest.mark.parametrize("first", [[item("x"), item(), item("x")], [item("x"), item("x")]])
async def test_a_batch_that_holds_an_id_twice_creates_no_conversation(
    storage: Storage, path: Path, first: list[ItemRecord]
) -> None:
    with pytest.raises(DuplicateItem) as found:
        await created(storage, *first)
    assert found.value.item_id == "x"
    assert rows(path, "SELECT * FROM conversations") == []


async def test_an_id_that_the_conversation_holds_is_refused_with_its_whole_batch(storage: Storage) -> None:
    conversation_id = await created(storage, item("a"), item("b"))
    for batch in ([item("c"), item("b")], [item("d"), item("d")]):
        with pytest.raises(DuplicateItem) as found:
            await storage.conversations.append(ALICE, conversation_id, batch)
        assert found.value.item_id == batch[1].id
    assert await texts(storage, conversation_id) == ["a", "b"]
    await storage.conversations.append(ALICE, conversation_id, [item("c")])
    assert await texts(storage, conversation_id) == ["a", "b", "c"]


async def test_an_id_may_be_used_again_in_another_conversation_and_after_its_deletion(storage: Storage) -> None:
    one, other = await created(storage, item("a")), await created(storage, item("a", "other"))
    await storage.conversations.delete_item(ALICE, one, "a")
    assert (await storage.conversations.get_item(ALICE, other, "a")).data == item("a", "other").data
    await storage.conversations.append(ALICE, one, [item("a", "again")])
    assert (await storage.conversations.get_item(ALICE, one, "a")).data == item("a", "again").data


async def test_positions_are_gapless_and_batches_unbroken_however_many_append_at_once(
    storage: Storage, path: Path
) -> None:
    conversation_id = await created(storage, item("first"))
    batches = [[item(f"{n}-{m}") for m in range(1 + n % 4)] for n in range(50)]
    await asyncio.gather(*(storage.conversations.append(ALICE, conversation_id, batch) for batch in batches))
    found = rows(path, "SELECT position, id FROM conversation_items ORDER BY position")
    assert [position for position, _ in found] == list(range(1 + sum(map(len, batches))))
    order = [str(item_id) for _, item_id in found][1:]
    for batch in batches:
        start = order.index(batch[0].id)
        assert order[start : start + len(batch)] == [entry.id for entry in batch]
    assert rows(path, "SELECT next_position FROM conversations") == [(len(found),)]


async def test_appends_that_fail_among_many_leave_no_gap(storage: Storage, path: Path) -> None:
    conversation_id = await created(storage, item("taken"))
    batches = [[item(f"n{n}"), item("taken" if n % 5 == 0 else f"m{n}")] for n in range(50)]
    appends = (storage.conversations.append(ALICE, conversation_id, batch) for batch in batches)
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert [isinstance(result, DuplicateItem) for result in results] == [n % 5 == 0 for n in range(50)]
    positions = [position for (position,) in rows(path, "SELECT position FROM conversation_items ORDER BY position")]
    assert positions == list(range(81))


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_of_any_size_show_every_item_once_in_order(storage: Storage, limit: int, descending: bool) -> None:
    conversation_id = await created(storage, *(item(f"i{n:02}") for n in range(23)))
    await storage.conversations.delete_item(ALICE, conversation_id, "i11")
    await created(storage, *(item(f"i{n:02}") for n in range(23)))
    expected = [f"i{n:02}" for n in range(23) if n != 11]
    found, sizes = await pages(storage, conversation_id, limit, descending=descending)
    assert found == (expected[::-1] if descending else expected)
    assert set(sizes[:-1]) <= {limit}
    assert sizes[-1] > 0


async def test_an_empty_conversation_is_one_empty_page(storage: Storage) -> None:
    assert await pages(storage, await created(storage), 5, descending=True) == ([], [0])


async def test_a_cursor_must_be_an_item_of_the_conversation(storage: Storage) -> None:
    conversation_id = await created(storage, item("a"), item("b"))
    await created(storage, item("elsewhere"))
    await storage.conversations.delete_item(ALICE, conversation_id, "b")
    for cursor in ("elsewhere", "b", "", conversation_id):
        with pytest.raises(CursorNotFound) as found:
            await storage.conversations.list_items(ALICE, conversation_id, PageQuery(5, descending=False, after=cursor))
        assert (found.value.param, found.value.cursor) == ("after", cursor)


async def test_deleting_an_item_answers_with_its_conversation_and_leaves_the_others(storage: Storage) -> None:
    record = conversation(metadata='{"a":"1"}')
    await storage.conversations.create(ALICE, record, [item("a"), item("b"), item("c")])
    assert await storage.conversations.delete_item(ALICE, record.id, "b") == record
    for call in (storage.conversations.delete_item, storage.conversations.get_item):
        with pytest.raises(ItemNotFound) as found:
            await call(ALICE, record.id, "b")
        assert (found.value.item_id, found.value.conversation_id) == ("b", record.id)
    assert await texts(storage, record.id) == ["a", "c"]


async def test_history_is_what_lies_below_a_position_oldest_first(storage: Storage) -> None:
    conversation_id = await created(storage, *(item(f"i{n}") for n in range(5)))
    await storage.conversations.delete_item(ALICE, conversation_id, "i1")
    history = await storage.conversations.history(ALICE, conversation_id, 4)
    assert [entry.id for entry in history] == ["i0", "i2", "i3"]
    assert await storage.conversations.history(ALICE, conversation_id, 0) == []
    assert await storage.conversations.history(ALICE, UNKNOWN, 100) == []


async def test_a_history_that_is_known_is_read_on_until_an_item_of_the_conversation_is_deleted(
    storage: Storage,
) -> None:
    store = storage.conversations
    conversation_id = await created(storage, item("a"), item("b"))

    async def since(known: HistoryMark | None, before: int = 100) -> tuple[list[str], HistoryMark | None, bool]:
        part = await store.history_since(ALICE, conversation_id, before, known)
        return [entry.id for entry in part.items], part.mark, part.continues

    known = HistoryMark(0, 2)
    assert await since(None) == (["a", "b"], known, False)
    assert await since(known) == ([], known, True)
    await store.append(ALICE, conversation_id, [item("c"), item("d")])
    assert await since(known) == (["c", "d"], HistoryMark(0, 4), True)
    assert await since(known, before=3) == (["c"], HistoryMark(0, 3), True)
    assert await since(known, before=1) == (["a"], HistoryMark(0, 1), False)
    await store.delete_item(ALICE, conversation_id, "d")
    assert await since(HistoryMark(0, 4)) == (["a", "b", "c"], HistoryMark(1, 4), False)
    with pytest.raises(ItemNotFound):
        await store.delete_item(ALICE, conversation_id, "d")
    assert await since(HistoryMark(1, 4)) == ([], HistoryMark(1, 4), True)
    await store.delete(ALICE, conversation_id)
    assert await since(HistoryMark(1, 4)) == ([], None, False)


async def test_an_item_is_found_by_its_id_alone_where_the_id_tells_its_partition(storage: Storage) -> None:
    record = conversation()
    inherited = item(new_id("msg", partition_in(record.id)), "ours")
    await storage.conversations.create(ALICE, record, [inherited, item("chosen")])
    found = await storage.conversations.find_item(ALICE, inherited.id, None)
    assert found is not None
    assert found.data == inherited.data
    assert await storage.conversations.find_item(ALICE, "chosen", None) is None
    assert await storage.conversations.find_item(ALICE, new_id("msg", partition_in(record.id)), None) is None
    within = await storage.conversations.find_item(ALICE, "chosen", record.id)
    assert within is not None
    assert within.id == "chosen"


async def test_an_item_is_looked_for_in_the_named_conversation_first(storage: Storage) -> None:
    origin, copy = conversation(), conversation()
    shared = new_id("msg", partition_in(origin.id))
    await storage.conversations.create(ALICE, origin, [item(shared, "origin")])
    await storage.conversations.create(ALICE, copy, [item(shared, "copy")])
    for within, text in ((copy.id, "copy"), (origin.id, "origin"), (None, "origin")):
        found = await storage.conversations.find_item(ALICE, shared, within)
        assert found is not None
        assert found.data == item(shared, text).data


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_conversations_are_listed_by_creation_in_pages_both_ways(
    storage: Storage, limit: int, descending: bool
) -> None:
    twins = {"created_at": 5}  # the same microsecond: the id breaks the tie
    records = [conversation(**(twins if n < 4 else {})) for n in range(8)]
    shuffled = random.Random(1).sample(records, len(records))
    for record in shuffled:
        await storage.conversations.create(ALICE, record, [])
    ordered = sorted(records, key=lambda record: (record.created_at, record.id), reverse=descending)
    forward, cursor, has_more = [], None, True
    while has_more:
        page = await storage.conversations.list(ALICE, PageQuery(limit, descending, after=cursor), {})
        forward, has_more = [*forward, *page.entries], page.has_more
        cursor = forward[-1].id
    assert forward == ordered
    backward, cursor, has_more = [ordered[-1]], ordered[-1].id, True
    while has_more:
        page = await storage.conversations.list(ALICE, PageQuery(limit, descending, before=cursor), {})
        backward, has_more = [*page.entries, *backward], page.has_more
        cursor = backward[0].id
    assert backward == ordered


async def test_a_conversation_page_continues_only_at_a_conversation(storage: Storage) -> None:
    await created(storage)
    for query in (PageQuery(1, True, after=UNKNOWN), PageQuery(1, True, before=UNKNOWN)):
        with pytest.raises(CursorNotFound) as found:
            await storage.conversations.list(ALICE, query, {})
        assert found.value.param == ("after" if query.after else "before")


async def test_conversations_are_filtered_by_all_given_pairs_before_they_are_paged(storage: Storage) -> None:
    odd = {"kind": "a", 'quo"te': "x", "größe": "1", "null": ""}
    metadata: list[dict[str, str]] = [{}, {"kind": "a"}, {"kind": "b", "x": "1"}, {"kind": "a", "x": "1"}, odd]
    records = [conversation(metadata=json.dumps(pairs)) for pairs in metadata]
    for record in records:
        await storage.conversations.create(ALICE, record, [])

    async def matching(pairs: dict[str, str], limit: int = 100) -> list[int]:
        page = await storage.conversations.list(ALICE, PageQuery(limit, descending=False), pairs)
        return [records.index(entry) for entry in page.entries]

    assert await matching({"kind": "a"}) == [1, 3, 4]
    assert await matching({"kind": "a"}, limit=2) == [1, 3]
    assert await matching({"kind": "a", "x": "1"}) == [3]
    assert await matching({'quo"te': "x", "größe": "1"}) == [4]
    assert await matching({"null": ""}) == [4]
    assert await matching({"kind": "A"}) == []
    assert await matching({"x": ""}) == []
    page = await storage.conversations.list(ALICE, PageQuery(1, True, after=records[4].id), {"kind": "a"})
    assert ([records.index(entry) for entry in page.entries], page.has_more) == ([3], True)


async def test_each_operation_is_one_transaction_of_few_statements(database: SqliteDatabase) -> None:
    counting = CountingDatabase(database)
    store, responses = SqlConversationStore(counting), SqlResponseStore(counting, LEASE_SECONDS)
    record = conversation()
    page = PageQuery(10, descending=True)
    await store.create(ALICE, record, [item("a")])
    await store.create(ALICE, conversation(), [])
    await store.append(ALICE, record.id, [item()])
    await store.append(ALICE, record.id, [item("b"), item("c"), item()])
    await store.get(ALICE, record.id)
    await store.list(ALICE, page, {})
    await store.list_items(ALICE, record.id, page)
    await store.list_items(ALICE, record.id, PageQuery(10, descending=True, after="b"))
    await store.get_item(ALICE, record.id, "a")
    await store.delete_item(ALICE, record.id, "a")
    await store.history(ALICE, record.id, 100)
    await store.update_metadata(ALICE, record.id, "{}")
    claimed = response(conversation_id=record.id)
    await responses.claim(ALICE, TurnClaim(claimed.id, record.id, claimed))
    await store.delete(ALICE, record.id)
    assert [(transaction.kind, transaction.statements) for transaction in counting.transactions] == [
        ("write", 2),  # the conversation, its item
        ("write", 1),
        ("write", 2),  # the positions, the item
        ("write", 5),  # the positions, the ids that are held, three items
        ("read", 1),
        ("read", 1),
        ("read", 1),  # the page
        ("read", 3),  # the conversation, the cursor, the page
        ("read", 1),
        ("write", 2),
        ("read", 1),
        ("write", 1),
        ("write", 2),  # the lease, the response
        ("write", 1),
    ]


async def test_many_items_are_appended_by_one_statement_run_many_times(database: SqliteDatabase) -> None:
    counting = CountingDatabase(database)
    store, record = SqlConversationStore(counting), conversation()
    await store.create(ALICE, record, [])
    await store.append(ALICE, record.id, [item() for _ in range(20)])
    assert len(counting.transactions[-1].steps) == 2


async def test_somebody_else_may_have_the_same_item_ids(storage: Storage) -> None:
    ours, theirs = conversation(), conversation()
    await storage.conversations.create(ALICE, ours, [item("a", "ours")])
    await storage.conversations.create(BOB, theirs, [item("a", "theirs")])
    assert (await storage.conversations.get_item(ALICE, ours.id, "a")).data == item("a", "ours").data
    assert (await storage.conversations.get_item(BOB, theirs.id, "a")).data == item("a", "theirs").data
