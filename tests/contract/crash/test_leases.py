"""A turn holds its conversation by a lease: as long as it lives, and no longer."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, items_of, texts_of, user
from harness.event_stream import check_stream, read_frames
from harness.server import StackServer
from harness.turns import post, request, text_of, turn
from harness.waiting import pause
from scripted_model import ScriptedModel

LEASE = 3
"""Seconds; a busy machine must not lose one by accident."""
BUSY = {"turns": {"lease_seconds": LEASE, "sweep_seconds": 0.1}}


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(4) as pool:
        yield pool
        model.open_gate(tag)


def freeze(server: StackServer, others: httpx2.Client) -> None:
    """Stop a server, but not while it writes: another one that shares its database still can."""
    os.kill(server.pid, signal.SIGSTOP)
    while others.post("/conversations", json={}).status_code != 200:
        os.kill(server.pid, signal.SIGCONT)
        os.kill(server.pid, signal.SIGSTOP)


def next_turn(http: httpx2.Client, conversation_id: str) -> str:
    """The text of a turn, once the conversation is not locked any more."""
    while (answer := post(http, "echo", "Next", conversation=conversation_id)).status_code == 400:
        refused(answer, 400, "conversation_locked", "conversation")
        pause()
    return text_of(ok(answer))


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_turn_that_takes_many_leases_time_keeps_its_conversation(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    server: StackServer = new_server(**BUSY).start()
    with server.http() as http:
        conversation_id = create(http)
        running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id, stream=streamed)
        model.wait_until_reached(tag)
        end = time.monotonic() + 3 * LEASE
        while time.monotonic() < end:
            refused(post(http, conversation=conversation_id), 400, "conversation_locked", "conversation")
            pause()
        model.open_gate(tag)
        answer = running.result()
        response = check_stream(read_frames(answer.content)) if streamed else ok(answer)
        assert (response["status"], text_of(response)) == ("completed", "before after")
        assert next_turn(http, conversation_id) == "seen=3 last=Next"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("swept", [False, True], ids=["lost to a turn", "lost to a sweep"])
def test_a_turn_of_a_server_that_stood_still_for_longer_than_a_lease_stores_nothing(
    new_server: Any,
    model: ScriptedModel,
    tag: str,
    pool: ThreadPoolExecutor,
    tmp_path: Any,
    streamed: bool,
    swept: bool,
) -> None:
    seldom = {"lease_seconds": LEASE, "sweep_seconds": 60}
    frozen: StackServer = new_server(tmp_path / "shared", turns=seldom).start()
    other: StackServer = new_server(tmp_path / "shared", **(BUSY if swept else {"turns": seldom})).start()
    with frozen.http() as http, other.http() as others:
        conversation_id = create(http, [user("Before")])
        running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id, stream=streamed)
        model.wait_until_reached(tag)
        freeze(frozen, others)
        try:
            assert next_turn(others, conversation_id) == "seen=2 last=Next"
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        model.open_gate(tag)
        answer = running.result()
        if streamed:
            assert check_stream(read_frames(answer.content))["status"] == "failed"
        else:
            refused(answer, 500, "server_error", None, "server_error")
        assert texts_of(items_of(others, conversation_id)) == ["Before", "Next", "seen=2 last=Next"]
        while (status := ok(others.get("/responses", params={"model": "slow"}))["data"][0]["status"]) != "failed":
            assert status == "in_progress"
            if not swept:
                break
            pause()
        assert next_turn(http, conversation_id) == "seen=4 last=Next"


def test_any_number_of_turns_of_a_killed_server_are_failed_by_the_next_start(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server().start()
    count = 150

    async def begin_and_die() -> None:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=server.base_url, timeout=60, limits=limits) as client:
            bodies = [request("hang", f"gate={tag}{number}") for number in range(count)]
            asked = asyncio.gather(*(client.post("/responses", json=body) for body in bodies), return_exceptions=True)
            for number in range(count):
                await model.reached(f"{tag}{number}")
            server.kill()
            assert all(isinstance(answer, httpx2.TransportError) for answer in await asked)

    asyncio.run(begin_and_die())
    server.start()
    with server.http() as http:
        pages = [ok(http.get("/responses", params={"limit": 100}))]
        pages.append(ok(http.get("/responses", params={"limit": 100, "after": pages[0]["last_id"]})))
        statuses = [response["status"] for page in pages for response in page["data"]]
        assert statuses == ["failed"] * count
        turn(http)
