"""News: told at once to whoever shares the database, where it passes them on; and never relied on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.event_stream import read_frames
from harness.postgres import Cluster
from llama_conversations.services.responses import following
from llama_conversations.services.responses.following import follow
from llama_conversations.storage.dialects import postgresql_news
from llama_conversations.storage.news import LocalNews, News
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import EventRecord, Job
from llama_conversations.wire.events import EventWriter, ResponseEvent
from unit.storage.support import ALICE, opened, response, rows

TESTS = Path(__file__).parents[2]
LONG = 60
"""Seconds that no test waits for: what comes has been told."""

TELL = """
import asyncio, sys
from pathlib import Path
from unit.storage.support import opened

async def main():
    async with opened(Path(sys.argv[1])) as storage:
        with storage.news.bell("anything") as bell:
            while not storage.news.is_heard:
                await bell.wait(60)
        storage.news.announce(sys.argv[2])

asyncio.run(main())
"""

LISTENERS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND (query LIKE '%pg_notify%' OR query LIKE 'LISTEN%')"
)


async def heard(news: News) -> None:
    """Wait until other processes are heard."""
    with news.bell("anything") as bell:
        while not news.is_heard:
            assert await bell.wait(LONG)


async def unheard(news: News) -> None:
    """Wait until they are not."""
    with news.bell("anything") as bell:
        while news.is_heard:
            assert await bell.wait(LONG)


async def test_a_bell_rings_for_its_topic_and_remembers_it_until_somebody_waits() -> None:
    news = LocalNews()
    assert not news.is_heard
    with news.bell("this") as one, news.bell("this") as same, news.bell("that") as other:
        news.announce("this")
        assert [await bell.wait(0) for bell in (one, same, other)] == [True, True, False]
        assert not await one.wait(0)
        waiting = asyncio.create_task(other.wait(LONG))
        await asyncio.sleep(0)
        news.announce("that")
        assert await waiting
        news.ring_all()
        assert [await bell.wait(0) for bell in (one, same, other)] == [True, True, True]
    news.announce("this")
    assert not await one.wait(0)


async def test_a_file_passes_no_news_on_but_within_the_process(path: Path) -> None:
    async with opened(path) as storage, opened(path) as other:
        with storage.news.bell("topic") as ours, other.news.bell("topic") as theirs:
            storage.news.announce("topic")
            assert (await ours.wait(LONG), await theirs.wait(0)) == (True, False)


@pytest.mark.databases("postgres")
async def test_news_reach_other_processes_and_one_that_ends_has_told_all(path: Path) -> None:
    async with opened(path) as storage:
        await heard(storage.news)
        with storage.news.bell("topic") as bell, storage.news.bell("another") as other:
            command = [sys.executable, "-c", TELL, str(path), "topic"]
            done = await asyncio.to_thread(subprocess.run, command, cwd=TESTS, check=False)
            assert done.returncode == 0
            assert await bell.wait(LONG)
            assert not await other.wait(0)


@pytest.mark.databases("postgres")
async def test_who_follows_elsewhere_is_told_of_events_and_of_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "HEARING_POLL_SECONDS", 3600)
    async with opened(path) as runner, opened(path) as elsewhere:
        await heard(elsewhere.news)
        await heard(runner.news)
        queued = response(status="queued")
        await runner.jobs.enqueue(Job(ALICE, queued, "{}", streamed=True), [event(0, queued.body)], 1000)
        frames = follow(elsewhere.jobs, elsewhere.news, ALICE, queued.id, -1)
        assert read_frames(await anext(frames))[0]["sequence_number"] == 0
        next_frame = asyncio.create_task(anext(frames))
        await runner.jobs.add_events(queued.id, [event(1, queued.body)])
        runner.news.announce(queued.id)
        assert read_frames(await next_frame)[0]["sequence_number"] == 1
        last = asyncio.create_task(anext(frames))
        await runner.jobs.request_cancel(ALICE, queued.id, lambda head: head)
        runner.news.announce(queued.id)
        assert read_frames(await last)[0]["sequence_number"] == 2


def event(number: int, body: str) -> EventRecord:
    frame = EventWriter(number).frame(ResponseEvent("response.queued", body.encode()))
    return EventRecord(number, frame.decode())


@pytest.mark.databases("postgres")
async def test_a_listening_connection_that_is_lost_is_made_again_and_whoever_waits_looks_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_news, "RECONNECT_SECONDS", 0.01)
    async with opened(path) as storage, opened(path) as other:
        await told(storage, other)
        listening = rows(path, f"SELECT pid {LISTENERS}")
        with storage.news.bell("topic") as bell:
            assert len(rows(path, f"SELECT pg_terminate_backend(pid) {LISTENERS}")) == len(listening) == 2
            assert await bell.wait(LONG)
        async with asyncio.timeout(LONG):
            while len({*await asyncio.to_thread(rows, path, f"SELECT pid {LISTENERS}")} - {*listening}) < 2:
                pass
        await told(storage, other)


async def told(one: Storage, other: Storage) -> None:
    """Wait until both hear each other, and have shown it."""
    for news in (one.news, other.news):
        await heard(news)
    for teller, listener in ((one, other), (other, one)):
        with listener.news.bell("topic") as bell:
            teller.news.announce("topic")
            assert await bell.wait(LONG)


@pytest.mark.databases("postgres")
async def test_behind_a_pooler_nobody_listens(path: Path) -> None:
    async with opened(path, transaction_pooling=True) as storage:
        assert not storage.news.is_heard
        assert rows(path, f"SELECT count(*) {LISTENERS}") == [(0,)]
        with storage.news.bell("topic") as bell:
            storage.news.announce("topic")
            assert await bell.wait(LONG)


async def test_a_server_that_is_away_is_not_heard_and_heard_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_news, "RECONNECT_SECONDS", 0.05)
    monkeypatch.setattr(postgresql_news, "CHECK_SECONDS", 0.05)
    cluster = Cluster().start()
    try:
        path = tmp_path / "own.json"
        path.write_text(json.dumps({**cluster.backend(cluster.empty_database()), "connect_timeout_seconds": 2}))
        async with opened(path) as storage:
            await heard(storage.news)
            await asyncio.to_thread(cluster.stop)
            await unheard(storage.news)
            storage.news.announce("topic")
            await asyncio.to_thread(cluster.start)
            await heard(storage.news)
            await asyncio.to_thread(cluster.stop)
            await unheard(storage.news)
    finally:
        cluster.close()
