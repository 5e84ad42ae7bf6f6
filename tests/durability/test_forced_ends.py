"""A server that is ended at once, by a second signal, while requests still wait: what they are told is so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2

from harness.answers import ok
from harness.conversations import create, items_of, texts_of, user
from harness.server import StackServer


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Meanwhile another process writes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


def test_who_is_told_to_retry_a_write_may_do_so(sqlite_server: Callable[..., StackServer], tmp_path: Path) -> None:
    server = sqlite_server().start()
    with server.http() as http, ThreadPoolExecutor(2) as pool:
        conversation_id = create(http)

        def append(text: str, **headers: str) -> httpx2.Response:
            path, items = f"/conversations/{conversation_id}/items", [user(text)]
            return http.post(path, json={"items": items}, headers=headers)

        with write_lock(tmp_path / "state.db"):
            plain, keyed = pool.submit(append, "plain"), pool.submit(append, "keyed", **{"idempotency-key": "k"})
            while not (plain.running() and keyed.running()):
                ok(http.get("/conversations"))
            for _ in range(3):
                ok(http.get("/conversations"))
            server.ask_to_stop()
            server.ask_to_stop()
            answers = [plain.result(), keyed.result()]
        assert server.wait() == 0
    server.start()
    with server.http() as http:
        stored = texts_of(items_of(http, conversation_id))
        for answer, text in zip(answers, ("plain", "keyed"), strict=True):
            if answer.headers.get("x-should-retry") != "false":
                assert answer.status_code == 503
                ok(append(text, **({"idempotency-key": "k"} if text == "keyed" else {})))
        assert sorted(texts_of(items_of(http, conversation_id))) in (["keyed", "plain"], ["keyed"]), stored
