"""One port, one database, three processes: whichever is asked, it is one server; and any of them may die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.background import begin_stream, follow, followed, queue, settled
from harness.conversations import create, items_of, texts_of, user
from harness.event_stream import check_stream, read_frames
from harness.forked import ForkedServer
from harness.postgres import leases_run_out
from harness.server import SERVER, StackServer, scripted_config
from harness.turns import post, text_of, turn
from harness.waiting import pause
from harness.workers import PATIENCE, http_to, is_running, only, wait_for, wait_until_gone, workers_of
from scripted_model import ScriptedModel

pytestmark = pytest.mark.databases("sqlite", "postgres", "pgbouncer")

WORKERS = 3
SELDOM = {"lease_seconds": 600, "sweep_seconds": 600}
"""So that what happens soon happens for another reason."""

DIED = {"code": "server_error", "message": "The server stopped before the turn had ended."}


def sections(database: Callable[[Path], Mapping[str, object]], directory: Path) -> dict[str, Any]:
    """What a run.yaml of several workers has beside the usual; each runs one turn in the background at a time."""
    backend = database(directory)
    # On PostgreSQL nobody is told that a lease has run out: that is looked for.
    sweep = {"sweep_seconds": 0.2} if backend["type"] == "sql_postgres" else {}
    return {
        "storage": {"backends": {"default": backend}},
        "server": {**SERVER, "workers": WORKERS, "limits": {"max_background_turns": 1}},
        "turns": {**SELDOM, **sweep},
    }


class Listing(ThreadingHTTPServer):
    """A model server that lists ``models``, and does nothing else."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Lists)
        self.models = ["first-listed"]

    @property
    def provider(self) -> dict[str, object]:
        """What a run.yaml has for it."""
        url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        return {"provider_id": "listing", "provider_type": "remote::openai", "config": {"base_url": url}}


class _Lists(BaseHTTPRequestHandler):
    server: Listing

    def do_GET(self) -> None:
        listed = [{"id": name, "object": "model", "created": 1, "owned_by": "us"} for name in self.server.models]
        body = json.dumps({"object": "list", "data": listed}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def listing() -> Iterator[Listing]:
    """A model server whose list changes."""
    with Listing() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def workers(
    request: pytest.FixtureRequest,
    database: Any,
    model: ScriptedModel,
    listing: Listing,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StackServer]:
    """A server of three workers."""
    directory = tmp_path_factory.mktemp("workers")
    config = scripted_config(directory, model.base_url, **sections(database, directory), model_refresh_seconds=0.2)
    config["providers"]["inference"].append(listing.provider)
    server = ForkedServer(directory, config)
    server.after_kill = leases_run_out(request, database(directory))
    try:
        yield server.start()
        assert server.stop() == 0
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def each(workers: StackServer) -> Iterator[Sequence[httpx2.Client]]:
    """A client of each worker."""
    wait_until_all_serve(workers)
    with ExitStack() as opened:
        yield [opened.enter_context(http_to(workers, pid)) for pid in workers_of(workers)]


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for what waits at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(4) as pool:
        yield pool
        model.open_gate(tag)


def wait_until_all_serve(server: StackServer) -> None:
    """Wait until no worker is missing, and those that came later have begun."""
    deadline = time.monotonic() + PATIENCE
    while len(workers_of(server)) < WORKERS or not _is_told_of_all(server.log):
        assert time.monotonic() < deadline, server.log


def _is_told_of_all(log: str) -> bool:
    return log.count("serves again") >= log.count("another one is started")


def test_they_are_announced_once_and_serve_one_state(workers: StackServer, each: Sequence[httpx2.Client]) -> None:
    assert workers.log.count("Serving ") == 1
    assert f"Workers   {WORKERS}" in workers.log
    assert all(f"[worker {number}]" in workers.log for number in range(1, WORKERS + 1))
    first, second, third = each
    conversation_id = create(first, [user("Before")])
    assert text_of(turn(second, "echo", "Hello", conversation=conversation_id)) == "seen=2 last=Hello"
    assert texts_of(items_of(third, conversation_id)) == ["Before", "Hello", "seen=2 last=Hello"]
    assert [ok(http.get("/models")) for http in each] == [ok(first.get("/models"))] * WORKERS


def test_a_turn_at_one_locks_its_conversation_at_all(
    each: Sequence[httpx2.Client], model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    first, second, third = each
    conversation_id = create(first)
    running = pool.submit(post, first, "slow", f"gate={tag}", conversation=conversation_id)
    model.wait_until_reached(tag)
    for http in (second, third):
        refused(post(http, conversation=conversation_id), 400, "conversation_locked", "conversation")
    model.open_gate(tag)
    assert text_of(ok(running.result())) == "before after"
    assert text_of(turn(third, "echo", "Next", conversation=conversation_id)) == "seen=3 last=Next"


def test_a_background_turn_is_followed_and_cancelled_through_any(
    each: Sequence[httpx2.Client], model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    ended = [settled(each[0], queue(http)["id"]) for http in each]
    assert [text_of(response) for response in ended] == ["seen=1 last=Hello"] * WORKERS
    followed_one = begin_stream(each[0], "slow", f"gate={tag}")
    doomed = begin_stream(each[0], "hang-mid", f"tag={tag}-doomed gate={tag}-doomed")
    for gate in (tag, f"{tag}-doomed"):
        model.wait_until_reached(gate)
    live = [pool.submit(follow, http, followed_one) for http in each[1:]]
    model.open_gate(tag)
    whole = list(followed(each[0], followed_one).events)
    assert [one.result() for one in live] == [whole, whole]
    for http in each:  # one of them runs it, the others have the cancellation passed on
        assert ok(http.post(f"/responses/{doomed}/cancel"))["status"] == "cancelled"
    [asked] = model.requests(tag=f"{tag}-doomed", count=1, ended=True)
    assert asked.outcome == "disconnected"


def test_what_is_queued_at_one_is_taken_up_by_those_that_have_room_and_cancelled_through_any(
    each: Sequence[httpx2.Client], model: ScriptedModel, tag: str
) -> None:
    queued = [queue(each[0], "hang-mid", f"tag={tag} gate={tag}{number}")["id"] for number in range(WORKERS)]
    for number in range(WORKERS):  # all run at once, and none of the three may run two
        model.wait_until_reached(f"{tag}{number}")
    for response_id in queued:
        assert ok(each[1].post(f"/responses/{response_id}/cancel"))["status"] == "cancelled"
    asked = model.requests(tag=tag, count=WORKERS, ended=True)
    assert [request.outcome for request in asked] == ["disconnected"] * WORKERS
    assert [ok(http.get(f"/responses/{queued[0]}"))["status"] for http in each] == ["cancelled"] * WORKERS


def test_a_model_that_its_server_lists_later_is_known_to_all(each: Sequence[httpx2.Client], listing: Listing) -> None:
    listing.models.append("later-listed")
    deadline = time.monotonic() + PATIENCE
    for http in each:
        while http.get("/models/later-listed").status_code == 404:
            assert time.monotonic() < deadline
            pause()
    assert len({http.get("/models").content for http in each}) == 1


def test_a_key_has_one_effect_whoever_is_asked(
    each: Sequence[httpx2.Client], model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    body = {"model": "slow", "input": f"gate={tag} tag={tag}"}
    running = [pool.submit(http.post, "/responses", json=body, headers={"idempotency-key": tag}) for http in each]
    model.wait_until_reached(tag)
    model.open_gate(tag)
    answers = [answer.result() for answer in running]
    assert len({ok(answer)["id"] for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", "true", "true"]
    assert len(model.requests(tag=tag)) == 1


def test_one_that_is_killed_is_replaced_and_its_turns_have_failed_and_its_conversations_are_free(
    workers: StackServer, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    wait_until_all_serve(workers)
    doomed, *others = workers_of(workers)
    with http_to(workers, doomed) as http, http_to(workers, others[0]) as other:
        conversation_id = create(http, [user("Before")])
        running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id)
        model.wait_until_reached(tag)
        refused(post(other, conversation=conversation_id), 400, "conversation_locked", "conversation")
        os.kill(doomed, signal.SIGKILL)
        if workers.after_kill is not None:
            workers.after_kill(doomed)
        with pytest.raises(httpx2.TransportError):
            running.result()
        while (answer := post(other, "echo", "Next", conversation=conversation_id)).status_code == 400:
            refused(answer, 400, "conversation_locked", "conversation")
            pause()
        assert text_of(ok(answer)) == "seen=2 last=Next"
        [left] = ok(other.get("/responses", params={"model": "slow", "limit": 1}))["data"]
        failed = settled(other, left["id"])
        assert (failed["status"], failed["error"]) == ("failed", DIED)
    wait_until_all_serve(workers)
    assert doomed not in workers_of(workers)
    assert set(others) < set(workers_of(workers))
    with http_to(workers, workers_of(workers)[-1]) as http:
        assert text_of(turn(http, "echo", "Again", conversation=conversation_id)) == "seen=4 last=Again"


def test_many_clients_that_write_through_all_of_them_lose_nothing_and_are_never_refused(workers: StackServer) -> None:
    wait_until_all_serve(workers)
    clients, batches = 48, 6

    async def write() -> tuple[str, list[list[dict[str, Any]]]]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=workers.base_url, timeout=60, limits=limits) as http:
            shared: str = ok(await http.post("/conversations", json={}))["id"]

            async def talk(number: int) -> list[dict[str, Any]]:
                items = [user(f"{number}.{batch}", id=f"msg_{number}_{batch}") for batch in range(batches)]
                answers = [await http.post(f"/conversations/{shared}/items", json={"items": [i]}) for i in items]
                return [ok(answer)["data"][0] for answer in answers]

            return shared, await asyncio.gather(*map(talk, range(clients)))

    shared, told = asyncio.run(write())
    with workers.http() as http:
        items = items_of(http, shared)
    assert len(items) == clients * batches
    for mine in told:
        ids = [item["id"] for item in mine]
        assert [item for item in items if item["id"] in ids] == mine


def test_a_signal_lets_the_turns_of_all_end_and_then_all_end(
    new_server: Any, database: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    server: StackServer = new_server(tmp_path, **sections(database, tmp_path)).start()
    pids = workers_of(server)
    with ExitStack() as opened:
        each = [opened.enter_context(http_to(server, pid)) for pid in pids]
        running = [
            pool.submit(post, http, "slow", f"gate={tag}{number}", stream=True) for number, http in enumerate(each)
        ]
        for number in range(len(pids)):
            model.wait_until_reached(f"{tag}{number}")
        server.ask_to_stop()
        wait_for(server, "shutting down", len(pids))
        for number in range(len(pids)):
            model.open_gate(f"{tag}{number}")
        responses = [check_stream(read_frames(answer.result().content)) for answer in running]
        assert [text_of(response) for response in responses] == ["before after"] * len(pids)
        assert server.wait() == 0
    assert not any(map(is_running, pids))
    assert "Traceback" not in server.log, server.log


def test_one_that_is_asked_to_end_is_replaced_and_the_others_go_on(workers: StackServer) -> None:
    wait_until_all_serve(workers)
    leaving, staying, _ = workers_of(workers)
    with http_to(workers, staying) as http:
        os.kill(leaving, signal.SIGTERM)
        turn(http)
        wait_until_gone([leaving])
        turn(http)
    wait_until_all_serve(workers)
    with only(workers, workers_of(workers)[-1]), workers.http() as http:
        turn(http)
