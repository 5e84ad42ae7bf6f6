"""``stack db``: status, upgrade, vacuum and backup, beside a real server that writes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner, Result

from harness.answers import ok
from harness.conversations import create, items_of, texts_of, user
from harness.forked import ForkedServer
from harness.postgres import Cluster
from harness.server import StackServer, scripted_config
from llama_conversations.cli.main import app
from llama_conversations.storage.care import DoesNotApply
from llama_conversations.storage.migrations import HEAD_REVISION

NOWHERE = "http://127.0.0.1:9/v1"


def db(*arguments: object, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["db", *map(str, arguments)], env={"NO_COLOR": "1"})
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A run.yaml whose database is not there yet."""
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(scripted_config(tmp_path, NOWHERE)))
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StackServer]:
    """A server that writes ``run.yaml`` and uses its database."""
    server = ForkedServer(tmp_path, scripted_config(tmp_path, NOWHERE)).start()
    yield server
    server.close()
    assert "Traceback" not in server.log, server.log


def test_a_database_is_made_by_an_upgrade_and_not_by_a_look(config: Path, tmp_path: Path) -> None:
    database = tmp_path / "state.db"
    for command in (["status", config], ["vacuum", config], ["backup", config, tmp_path / "copy.db"]):
        assert "It is not there: 'stack db upgrade' makes it." in db(*command, exit_code=1).stderr
    assert not database.exists()
    assert db("upgrade", config).output == f"default: revision {HEAD_REVISION} (from nothing)\n"
    assert db("upgrade", config).output == f"default: revision {HEAD_REVISION} (up to date)\n"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer than" in db("upgrade", config, exit_code=1).stderr


def test_status_tells_what_is_in_the_database_of_a_running_server(server: StackServer, tmp_path: Path) -> None:
    with server.http() as http:
        create(http, [user("a"), user("b")])
        http.post("/responses", json={"model": "scripted/none", "input": "x"})
    listed = orjson.loads(db("status", tmp_path / "run.yaml", "--json").output)
    [state] = listed["databases"]
    assert (state["backend"], state["stores"]) == ("default", ["state", "prompts", "registry"])
    assert (state["revision"], state["newest"], state["location"]) == (
        HEAD_REVISION,
        HEAD_REVISION,
        str(tmp_path / "state.db"),
    )
    assert (state["conversations"], state["items"], state["responses"], state["events"]) == (1, 2, {}, 0)
    assert state["size"] > state["free"] >= 0
    text = db("status", tmp_path / "run.yaml").output
    assert text.startswith(f"default (state, prompts, registry): {tmp_path / 'state.db'}\n")
    assert f"  schema         {HEAD_REVISION} (the newest)\n" in text
    assert "  conversations  1\n  items          2\n  responses      0\n" in text


def test_status_reads_a_database_of_an_older_version(config: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        connection.execute("CREATE TABLE conversations (id TEXT)")
        connection.execute("CREATE TABLE responses (status TEXT)")
        connection.execute("INSERT INTO responses VALUES ('failed'), ('completed'), ('failed')")
    text = db("status", config).output
    assert f"schema         none (the newest is {HEAD_REVISION})" in text
    assert "responses      3: 1 completed, 2 failed" in text


def test_a_backup_is_made_while_clients_write_and_a_server_goes_on_from_it(server: StackServer, tmp_path: Path) -> None:
    copy, stop = tmp_path / "backups" / "copy.db", threading.Event()
    copy.parent.mkdir()
    acknowledged: dict[str, int] = {}
    under_way = threading.Barrier(4 + 1)

    def write() -> None:
        with server.http() as http:
            conversation_id = create(http)
            acknowledged[conversation_id] = 0
            while not stop.is_set():
                number = acknowledged[conversation_id]
                ok(http.post(f"/conversations/{conversation_id}/items", json={"items": [user(str(number))]}))
                acknowledged[conversation_id] = number + 1
                if number == 20:
                    under_way.wait(30)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    under_way.wait(30)
    before = dict(acknowledged)
    assert "checked" in db("backup", tmp_path / "run.yaml", copy).output
    stop.set()
    for writer in writers:
        writer.join()
    assert server.stop() == 0
    assert os.listdir(copy.parent) == ["copy.db"]  # noqa: PTH208

    # As docs/operations.md says: the server is stopped, the copy takes the file's place, its log is removed.
    for left in tmp_path.glob("state.db*"):
        if left.is_file():
            left.unlink()
    copy.rename(tmp_path / "state.db")
    server.start()
    with server.http() as http:
        for conversation_id, count in before.items():
            numbers = texts_of(items_of(http, conversation_id))
            assert numbers == [str(number) for number in range(len(numbers))]
            assert count <= len(numbers) <= acknowledged[conversation_id]
        create(http, [user("after")])


def test_a_backup_overwrites_nothing_unless_told_so_and_never_the_database(config: Path, tmp_path: Path) -> None:
    db("upgrade", config)
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    assert "--force overwrites it" in db("backup", config, copy, exit_code=1).stderr
    assert copy.read_text() == "precious"
    db("backup", config, copy, "--force")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD_REVISION,)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    itself = db("backup", config, tmp_path / "state.db", "--force", exit_code=1)
    assert "is the database itself" in itself.stderr
    assert "cannot be written" in db("backup", config, tmp_path / "no" / "copy.db", exit_code=1).stderr


def test_a_database_that_is_not_whole_gives_no_backup(config: Path, tmp_path: Path) -> None:
    db("upgrade", config)
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        connection.execute("INSERT INTO response_events VALUES ('resp_gone', 1, 'x')")
    assert (
        "The copy is not whole: a row of response_events"
        in db("backup", config, tmp_path / "copy.db", exit_code=1).stderr
    )
    (tmp_path / "state.db").write_bytes(b"SQLite format 3\0" + bytes(4096))
    assert "Error: " in db("backup", config, tmp_path / "copy.db", exit_code=1).stderr
    assert "Error: " in db("status", config, exit_code=1).stderr
    assert not list(tmp_path.glob("*copy.db*"))


def test_a_vacuum_beside_a_server_gives_back_the_space_of_what_was_deleted(server: StackServer, tmp_path: Path) -> None:
    with server.http() as http:
        ids = [create(http, [user("x" * 20_000) for _ in range(20)]) for _ in range(5)]
        for conversation_id in ids[1:]:
            ok(http.delete(f"/conversations/{conversation_id}"))
        said = db("vacuum", tmp_path / "run.yaml").output.split()
        before, after = int(said[1]), int(said[4])
        assert after < before / 2
        assert after == (tmp_path / "state.db").stat().st_size
        assert len(items_of(http, ids[0])) == 20
        create(http)


def test_a_vacuum_says_when_somebody_reads_the_log_all_the_time(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_conversations.storage.sqlite_care.PATIENCE_SECONDS", 0.05)
    db("upgrade", config)
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM conversations").fetchone()
        assert "Try again" in db("vacuum", config, exit_code=1).stderr


def test_of_several_databases_all_are_shown_and_one_is_backed_up(config: Path, tmp_path: Path) -> None:
    backends = {name: {"type": "sql_sqlite", "path": str(tmp_path / f"{name}.db")} for name in ("main", "side", "idle")}
    stores = {"state": {"backend": "main"}, "prompts": {"backend": "side"}, "registry": {"backend": "main"}}
    tree: dict[str, Any] = scripted_config(tmp_path, NOWHERE, storage={"backends": backends, "stores": stores})
    config.write_text(yaml.safe_dump(tree))
    assert [line.split(":")[0] for line in db("upgrade", config).output.splitlines()] == ["main", "side"]
    shown = db("status", config).output
    assert "main (state, registry)" in shown
    assert "side (prompts)" in shown
    copy = tmp_path / "copy.db"
    assert "main, side. Name one of them by --backend" in db("backup", config, copy, exit_code=1).stderr
    assert db("backup", config, copy, "--backend", "side").output.startswith("side: ")
    assert "No store uses a backend 'idle'" in db("status", config, "--backend", "idle", exit_code=1).stderr


def test_what_does_not_apply_says_what_does_it() -> None:
    error = DoesNotApply("backup", "PostgreSQL", "Use pg_dump.")
    assert str(error) == "'stack db backup' does not apply to PostgreSQL. Use pg_dump."


def test_a_postgresql_database_is_made_and_looked_at_and_its_own_tools_do_the_rest(
    postgres: Cluster, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    backend = postgres.backend(postgres.empty_database())
    sections = scripted_config(tmp_path, NOWHERE, storage={"backends": {"default": backend}})
    config.write_text(yaml.safe_dump(sections))
    [empty] = orjson.loads(db("status", config, "--json").output)["databases"]
    assert (empty["revision"], empty["conversations"], empty["responses"]) == (None, 0, {})
    assert db("upgrade", config).output == f"default: revision {HEAD_REVISION} (from nothing)\n"
    assert db("upgrade", config).output == f"default: revision {HEAD_REVISION} (up to date)\n"
    server = ForkedServer(tmp_path, sections).start()
    try:
        with server.http() as http:
            create(http, [user("a"), user("b")])
    finally:
        server.close()
    [state] = orjson.loads(db("status", config, "--json").output)["databases"]
    assert (state["revision"], state["conversations"], state["items"], state["free"]) == (HEAD_REVISION, 1, 2, None)
    assert state["size"] > 1_000_000
    assert "autovacuum" in db("vacuum", config, exit_code=1).stderr
    assert "pg_dump" in db("backup", config, tmp_path / "copy", exit_code=1).stderr
    assert not (tmp_path / "copy").exists()
