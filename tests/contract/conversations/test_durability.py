"""What was acknowledged is there after a restart, a kill, a rush of first requests, and for a second process."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from harness.answers import ok
from harness.conversations import add, create, items_of, texts_of, user

BATCH = 5


def state_of(http, conversation):
    url = f"/conversations/{conversation}"
    return http.get(url).content, http.get(f"{url}/items", params={"limit": 100, "order": "asc"}).content


def end(server, how):
    if how == "stopped":
        assert server.stop() == 0
    else:
        server.kill()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_server_that_was_ended_comes_back_with_the_same_bytes(new_server, how):
    server = new_server().start()
    with server.http() as http:
        kept = create(http, [user(str(n)) for n in range(30)], metadata={"k": "v"})
        gone = create(http, [user("gone")])
        ok(http.delete(f"/conversations/{gone}"))
        items = items_of(http, kept)
        ok(http.delete(f"/conversations/{kept}/items/{items[3]['id']}"))
        ok(http.post(f"/conversations/{kept}", json={"metadata": {"k": "new"}}))
        before = state_of(http, kept)
    end(server, how)
    server.start()
    with server.http() as http:
        assert state_of(http, kept) == before
        assert http.get(f"/conversations/{gone}").status_code == 404
        add(http, kept, [user("after")])
        assert texts_of(items_of(http, kept)) == [str(n) for n in range(30) if n != 3] + ["after"]


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_server_that_is_ended_amid_writes_keeps_all_that_it_acknowledged_and_no_half_batch(new_server, how):
    server = new_server().start()
    with server.http() as http:
        conversation = create(http)
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def write(many, writer):
        for batch in range(1000):
            texts = [f"{writer} {batch} {n}" for n in range(BATCH)]
            url = f"/conversations/{conversation}/items"
            try:
                answer = await many.post(url, json={"items": [user(text) for text in texts]})
            except httpx2.TransportError:
                return
            if answer.status_code != 200:
                assert answer.status_code == 503
                return
            acknowledged.extend(texts)
            if len(acknowledged) > 40 * BATCH:
                enough.set()

    async with httpx2.AsyncClient(base_url=server.base_url, timeout=30) as many:
        writers = [asyncio.create_task(write(many, writer)) for writer in range(8)]
        await enough.wait()
        await asyncio.to_thread(end, server, how)
        await asyncio.gather(*writers)
    server.start()
    with server.http() as http:
        texts = texts_of(items_of(http, conversation))
    assert set(acknowledged) <= set(texts)
    assert len(set(texts)) == len(texts)
    for start in range(0, len(texts), BATCH):
        writer, batch, _ = texts[start].split()
        assert texts[start : start + BATCH] == [f"{writer} {batch} {n}" for n in range(BATCH)]


async def test_first_requests_that_arrive_at_once_on_an_empty_database_are_all_served(new_server):
    server = new_server().start()
    async with httpx2.AsyncClient(base_url=server.base_url, timeout=30) as many:
        created = [many.post("/conversations", json={"items": [user(str(n))]}) for n in range(50)]
        others = [many.get(path) for path in ("/conversations", "/models", "/prompts", "/health", "/responses")]
        answers = await asyncio.gather(*created, *others)
    made = [ok(answer) for answer in answers][:50]
    with server.http() as http:
        assert [texts_of(items_of(http, one["id"])) for one in made] == [[str(n)] for n in range(50)]


def test_processes_that_start_at_once_on_an_empty_database_share_it(new_server, tmp_path):
    servers = [new_server(tmp_path / "shared") for _ in range(3)]
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(lambda server: server.start(), servers))
    first, *others = [server.http() for server in servers]
    conversation = create(first, [user("0")])
    for n, http in enumerate(others, 1):
        add(http, conversation, [user(str(n))])
    for http in (first, *others):
        assert texts_of(items_of(http, conversation)) == ["0", "1", "2"]
        http.close()


async def test_two_processes_that_append_at_once_never_interleave(new_server, tmp_path):
    servers = [new_server(tmp_path / "shared").start() for _ in range(2)]
    with servers[0].http() as http:
        conversation = create(http)

    async def write(server, writer):
        async with httpx2.AsyncClient(base_url=server.base_url, timeout=60) as many:
            for batch in range(10):
                items = [user(f"{writer} {batch} {n}") for n in range(BATCH)]
                ok(await many.post(f"/conversations/{conversation}/items", json={"items": items}))

    await asyncio.gather(*(write(server, writer) for writer, server in enumerate(servers * 4)))
    with servers[1].http() as http:
        texts = texts_of(items_of(http, conversation))
    assert len(texts) == 8 * 10 * BATCH
    for start in range(0, len(texts), BATCH):
        writer, batch, _ = texts[start].split()
        assert texts[start : start + BATCH] == [f"{writer} {batch} {n}" for n in range(BATCH)]


def test_a_server_that_is_stopped_says_so_and_ends_in_time(new_server):
    server = new_server().start()
    with server.http() as http:
        create(http)
        assert server.stop() == 0
    assert "Traceback" not in server.log
