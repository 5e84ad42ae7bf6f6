"""A disk that is full under a running server: what does not fit is refused, and all goes on when there is room again.

No file of the server may grow (``RLIMIT_FSIZE``, setrlimit(2)), which needs no privileges: every write fails in the
middle of whatever SQLite does.
"""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx2

from durability.deployment import logged_errors
from harness.answers import ok, refused
from harness.background import settled
from harness.conversations import add, create, items_of, texts_of, user
from harness.event_stream import check_stream, read_frames
from harness.server import StackServer
from harness.turns import post, text_of
from harness.waiting import pause
from scripted_model import ScriptedModel

QUICK = {"lease_seconds": 1, "sweep_seconds": 0.1}


@contextmanager
def full_disk(server: StackServer) -> Iterator[None]:
    """Meanwhile nothing can be written."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have ended
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def gates_opened(model: ScriptedModel, *gates: str) -> Iterator[None]:
    """Whatever happens, nobody waits at them in the end."""
    try:
        yield
    finally:
        for gate in gates:
            model.open_gate(gate)


def next_turn(http: httpx2.Client, conversation_id: str) -> str:
    """The text of a turn, once the conversation is not locked any more."""
    while (answer := post(http, "echo", "Next", conversation=conversation_id)).status_code == 400:
        refused(answer, 400, "conversation_locked", "conversation")
        pause()
    return text_of(ok(answer))


def test_a_full_disk_loses_nothing_that_was_acknowledged_and_keeps_nothing_that_was_refused(
    sqlite_server: Callable[..., StackServer], model: ScriptedModel, tmp_path: Path
) -> None:
    server = sqlite_server(turns=QUICK).start()
    with server.http() as http, ThreadPoolExecutor(2) as pool, gates_opened(model, "full-0", "full-1"):
        held, asked, streamed = create(http, [user("a", id="msg_a")]), create(http), create(http)
        running = [
            pool.submit(post, http, "slow", f"gate=full-{n}", conversation=name, stream=n == 1)
            for n, name in enumerate((asked, streamed))
        ]
        for number in range(2):
            model.wait_until_reached(f"full-{number}")
        with full_disk(server):
            url = f"/conversations/{held}"
            for answer in (
                http.post("/conversations", json={"items": [user("lost")]}),
                http.post(f"{url}/items", json={"items": [user("lost")]}),
                http.post(url, json={"metadata": {"k": "lost"}}),
                http.delete(f"{url}/items/msg_a"),
                http.delete(url),
                post(http, conversation=held),
                post(http, background=True),
            ):
                refused(answer, 503, "server_error", None, "server_error")
            assert texts_of(items_of(http, held)) == ["a"]
            for number in range(2):
                model.open_gate(f"full-{number}")
            refused(running[0].result(), 503, "server_error", None, "server_error")
            told = check_stream(read_frames(running[1].result().content))
            assert told["status"] == "failed"
        add(http, held, [user("b")])
        assert texts_of(items_of(http, held)) == ["a", "b"]
        for conversation_id in (asked, streamed):
            assert next_turn(http, conversation_id) == "seen=1 last=Next"
        assert settled(http, told["id"])["status"] == "failed"
        assert len(ok(http.get("/conversations"))["data"]) == 3
    assert server.stop() == 0
    assert logged_errors(server.log.splitlines()) == []
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_server_can_be_stopped_and_killed_while_its_disk_is_full(
    sqlite_server: Callable[..., StackServer], model: ScriptedModel
) -> None:
    server = sqlite_server(turns=QUICK)
    conversation_id = None
    for end in (server.stop, server.kill):
        server.start()
        with server.http() as http:
            conversation_id = conversation_id or create(http, [user("a")])
            with full_disk(server):
                refused(post(http, conversation=conversation_id), 503, "server_error", None, "server_error")
                end()
    server.start()
    with server.http() as http:
        assert texts_of(items_of(http, str(conversation_id))) == ["a"]
        assert next_turn(http, str(conversation_id)) == "seen=2 last=Next"
