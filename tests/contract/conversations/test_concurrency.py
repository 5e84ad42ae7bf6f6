"""Many clients at once: nothing lost, nothing mixed, one winner where there can be only one."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import BATCH, create, items_of, texts_of, user

WRITERS, BATCHES = 16, 48


@pytest.fixture
async def many(server):
    """An asynchronous client that opens as many connections as there are requests."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=server.base_url, timeout=60, limits=limits) as many:
        yield many


def append(many, conversation, items):
    return many.post(f"/conversations/{conversation}/items", json={"items": items})


def assert_unbroken(texts, writers, batches):
    """Every batch of ``writer.batch.n`` stands whole, and each writer's batches in the order of its requests."""
    written = [tuple(int(part) for part in text.split(".")) for text in texts]
    assert len(written) == writers * batches * BATCH
    done = Counter()
    for start in range(0, len(written), BATCH):
        writer = written[start][0]
        assert written[start : start + BATCH] == [(writer, done[writer], n) for n in range(BATCH)]
        done[writer] += 1
    assert set(done.values()) == {batches}


async def test_appends_at_once_lose_nothing_and_never_interleave(http, many):
    conversation = create(http)
    writing = True
    seen: list[list[str]] = []

    async def write(writer):
        for batch in range(BATCHES):
            items = [user(f"{writer}.{batch}.{n}") for n in range(BATCH)]
            made = ok(await append(many, conversation, items))["data"]
            assert texts_of(made) == texts_of([{"content": [{"text": item["content"]}]} for item in items])

    async def read():
        while writing:
            newest = await many.get(f"/conversations/{conversation}/items", params={"limit": 100})
            seen.append(texts_of(ok(newest)["data"])[::-1])

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    writing = False
    await reader
    texts = texts_of(items_of(http, conversation))
    assert_unbroken(texts, WRITERS, BATCHES)
    place = {text: n for n, text in enumerate(texts)}
    for snapshot in filter(None, seen):  # what a reader saw meanwhile is a stretch of the whole, between two batches
        start = place[snapshot[0]]
        assert snapshot == texts[start : start + len(snapshot)]
        assert (start + len(snapshot)) % BATCH == 0


async def test_metadata_updated_at_once_is_always_one_clients_own(http, many):
    conversation = create(http)
    updates = [{key: str(n) for key in ("a", "b", f"only {n}")} for n in range(64)]
    url = f"/conversations/{conversation}"
    answers = await asyncio.gather(*(many.post(url, json={"metadata": update}) for update in updates))
    assert [ok(answer)["metadata"] for answer in answers] == updates
    assert ok(http.get(url))["metadata"] in updates


async def test_conversations_that_use_the_same_ids_at_once_keep_their_own_items(http, many):
    conversations = [create(http) for _ in range(8)]
    sent = [
        append(many, conversation, [user(f"{conversation} {n}", id=f"msg_{n}")])
        for n in range(20)
        for conversation in conversations
    ]
    for answer in await asyncio.gather(*sent):
        ok(answer)
    for conversation in conversations:
        items = items_of(http, conversation)
        assert sorted(texts_of(items)) == sorted(f"{conversation} {n}" for n in range(20))
        assert all(item["content"][0]["text"].split()[1] == item["id"].removeprefix("msg_") for item in items)


async def test_of_appends_of_one_id_at_once_one_wins(http, many):
    conversation = create(http)
    sent = [append(many, conversation, [user("a"), user(str(n), id="msg_one")]) for n in range(24)]
    answers = await asyncio.gather(*sent)
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer is not winner:
            refused(answer, 400, None, "items")
    assert items_of(http, conversation) == winner.json()["data"]


async def test_of_deletions_of_one_item_at_once_one_wins(http, many):
    conversation = create(http, [user("a", id="msg_a"), user("b")])
    url = f"/conversations/{conversation}/items/msg_a"
    answers = await asyncio.gather(*(many.delete(url) for _ in range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 23
    assert texts_of(items_of(http, conversation)) == ["b"]


async def test_of_deletions_of_one_conversation_at_once_one_wins(http, many):
    url = f"/conversations/{create(http, [user('a')])}"
    answers = await asyncio.gather(*(many.delete(url) for _ in range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 23


async def test_a_deletion_among_appends_leaves_nothing_behind(http, many):
    conversation = create(http)
    sent = [append(many, conversation, [user(str(n))]) for n in range(30)]
    sent.insert(15, many.delete(f"/conversations/{conversation}"))
    for answer in await asyncio.gather(*sent):
        if answer.status_code != 200:
            refused(answer, 404)
    for answer in (http.get(f"/conversations/{conversation}"), http.get(f"/conversations/{conversation}/items")):
        refused(answer, 404)


async def test_deletions_among_appends_lose_no_other_item(http, many):
    conversation = create(http, [user(f"old {n}", id=f"msg_{n}") for n in range(20)])
    deletions = [many.delete(f"/conversations/{conversation}/items/msg_{n}") for n in range(20)]
    appends = [append(many, conversation, [user(f"new {n}"), user(f"new {n}")]) for n in range(20)]
    for answer in await asyncio.gather(*(one for pair in zip(deletions, appends, strict=True) for one in pair)):
        ok(answer)
    texts = texts_of(items_of(http, conversation))
    assert texts[::2] == texts[1::2]
    assert sorted(texts[::2]) == sorted(f"new {n}" for n in range(20))


async def test_conversations_created_at_once_are_all_there(http, many):
    sent = [many.post("/conversations", json={"items": [user(str(n))], "metadata": {"n": str(n)}}) for n in range(100)]
    made = [ok(answer) for answer in await asyncio.gather(*sent)]
    assert len({conversation["id"] for conversation in made}) == 100
    for n, conversation in enumerate(made):
        assert conversation["metadata"] == {"n": str(n)}
        assert texts_of(items_of(http, conversation["id"])) == [str(n)]


async def test_what_was_acknowledged_is_seen_by_the_very_next_request(many, http):
    async def write_and_read(n):
        conversation = ok(await many.post("/conversations", json={}))["id"]
        for step in range(5):
            made = ok(await append(many, conversation, [user(f"{n} {step}")]))["data"][0]
            newest = ok(await many.get(f"/conversations/{conversation}/items", params={"limit": 1}))["data"]
            assert newest == [made]
            one = await many.get(f"/conversations/{conversation}/items/{made['id']}")
            assert ok(one) == made

    await asyncio.gather(*(write_and_read(n) for n in range(20)))
