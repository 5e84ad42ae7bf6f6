"""A database that does not answer: a clear error, nothing half written, and service again once it is back."""

from __future__ import annotations

import sqlite3

import pytest

from harness.answers import ok, refused
from harness.conversations import add, create, items_of, texts_of, user
from harness.forked import ForkedServer
from harness.server import scripted_config


@pytest.fixture
def held(tmp_path, nobody_url):
    """A server that waits for its file no longer than a moment, and a second connection to the file."""
    path = tmp_path / "odd name? 100% #1" / "state.db"
    backend = {"type": "sql_sqlite", "path": str(path), "busy_timeout_seconds": 0.1}
    config = scripted_config(tmp_path, nobody_url, storage={"backends": {"default": backend}})
    server = ForkedServer(tmp_path, config).start()
    holder = sqlite3.connect(path, isolation_level=None)
    yield server, holder
    holder.close()
    server.stop()
    assert "Traceback" not in server.log


def test_writes_fail_plainly_while_the_database_is_held_and_work_afterwards(held):
    server, holder = held
    with server.http() as http:
        conversation = create(http, [user("a", id="msg_a")])
        holder.execute("BEGIN IMMEDIATE")
        url = f"/conversations/{conversation}"
        for answer in (
            http.post("/conversations", json={}),
            http.post(f"{url}/items", json={"items": [user("lost")]}),
            http.post(url, json={"metadata": {"k": "lost"}}),
            http.delete(f"{url}/items/msg_a"),
            http.delete(url),
        ):
            refused(answer, 503, "server_error", None, "server_error")
            assert answer.headers["retry-after"] == "1"
        assert texts_of(items_of(http, conversation)) == ["a"]
        holder.execute("ROLLBACK")
        add(http, conversation, [user("b")])
        assert texts_of(items_of(http, conversation)) == ["a", "b"]
        assert ok(http.get(url))["metadata"] == {}


def test_the_official_client_retries_until_the_database_is_back(held):
    server, holder = held
    with server.http() as http:
        conversation = create(http)
        holder.execute("BEGIN IMMEDIATE")
        refused(
            http.post(f"/conversations/{conversation}/items", json={"items": []}),
            503,
            "server_error",
            None,
            "server_error",
        )
        with server.client(max_retries=5) as client:
            raw = client.conversations.items.with_raw_response
            holder.execute("ROLLBACK")
            assert raw.create(conversation, items=[user("a")]).status_code == 200
        assert texts_of(items_of(http, conversation)) == ["a"]


def test_a_server_whose_database_cannot_be_written_to_lives_and_is_not_ready(held):
    server, holder = held
    with server.http() as http:
        holder.execute("BEGIN IMMEDIATE")
        message = refused(http.get("/health/ready"), 503, "server_error", None, "server_error")
        assert message == "The server is not ready: its database cannot be written to."
        assert ok(http.get("/health/live")) == ok(http.get("/health")) == {"status": "ok"}
        holder.execute("ROLLBACK")
        assert ok(http.get("/health/ready")) == {"status": "ok"}
