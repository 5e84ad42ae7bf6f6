"""What becomes of a database that cannot serve: what was asked for did not happen, and later it serves again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from llama_conversations.errors import StorageUnavailable
from llama_conversations.storage import open as opening
from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.open import Storage
from llama_conversations.storage.sql_conversations import SqlConversationStore
from llama_conversations.storage.unit_of_work import Statement
from unit.storage.support import (
    ALICE,
    conversation,
    item,
    opened,
    opened_database,
    rows,
    run,
    texts,
    write_lock_held,
)

NOBODY = 65534


def pragma(setting: str) -> Statement:
    return Statement(text(f"PRAGMA {setting}"))


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def make_old(path: Path) -> None:
    """A database of a time before there was a schema."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE older (x)")


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def made_read_only(path: Path) -> bytes:
    path.chmod(0o444)
    return path.read_bytes()


def files_beside(path: Path, pattern: str = "*") -> list[Path]:
    return list(path.parent.glob(path.name + pattern))


class FullDisk:
    """A database that may not grow beyond what it is now."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self.conversations = SqlConversationStore(database)

    async def fill(self) -> None:
        [(pages,)] = await self._database.write(run(pragma("page_count")))
        await self._database.write(run(pragma(f"max_page_count={pages}")))

    async def clear(self) -> None:
        await self._database.write(run(pragma("max_page_count=1000000")))


@pytest.fixture
def disk(database: SqliteDatabase) -> FullDisk:
    return FullDisk(database)


async def test_a_full_disk_refuses_what_does_not_fit_stores_nothing_of_it_and_serves_again_when_there_is_room(
    disk: FullDisk, path: Path
) -> None:
    held = conversation()
    await disk.conversations.create(ALICE, held, [item("first")])
    await disk.fill()
    big = [item(f"big{n}", "x" * 10_000) for n in range(20)]
    with pytest.raises(StorageUnavailable):
        await disk.conversations.append(ALICE, held.id, big)
    lost = conversation()
    with pytest.raises(StorageUnavailable):
        await disk.conversations.create(ALICE, lost, big)
    assert await disk.conversations.get(ALICE, held.id) == held  # what is stored is served meanwhile
    await disk.clear()
    await disk.conversations.append(ALICE, held.id, [item("second")])
    assert rows(path, "SELECT conversation_id, position, id FROM conversation_items ORDER BY position") == [
        (held.id, 0, "first"),
        (held.id, 1, "second"),
    ]
    assert rows(path, "SELECT id FROM conversations") == [(held.id,)]


async def test_what_a_full_disk_acknowledged_is_there_and_what_it_refused_is_not(disk: FullDisk, path: Path) -> None:
    await disk.fill()
    records = [conversation() for _ in range(60)]
    batches = [[item(text="x" * (40 if n % 3 else 30_000))] for n in range(60)]
    creations = (disk.conversations.create(ALICE, *pair) for pair in zip(records, batches, strict=True))
    results = await asyncio.gather(*creations, return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), StorageUnavailable}
    assert StorageUnavailable in {type(result) for result in results}
    acknowledged = {record.id for record, result in zip(records, results, strict=True) if result is None}
    assert {found for (found,) in rows(path, "SELECT id FROM conversations")} == acknowledged
    assert {found for (found,) in rows(path, "SELECT conversation_id FROM conversation_items")} == acknowledged


async def test_a_database_that_another_process_holds_too_long_is_unavailable_for_writes_alone(path: Path) -> None:
    async with opened(path, busy_timeout_seconds=0.05) as storage:
        held = conversation()
        await storage.conversations.create(ALICE, held, [])
        with write_lock_held(path):
            with pytest.raises(StorageUnavailable):
                await storage.conversations.append(ALICE, held.id, [item("lost")])
            assert await storage.conversations.get(ALICE, held.id) == held
            await storage.health.ping()
        await storage.conversations.append(ALICE, held.id, [item("kept")])
        assert await texts(storage, held.id) == ["kept"]


async def test_a_write_waits_for_another_process_that_holds_the_database_for_a_while(
    storage: Storage, path: Path
) -> None:
    record = conversation()
    with write_lock_held(path):
        creating = asyncio.ensure_future(storage.conversations.create(ALICE, record, []))
        await storage.health.ping()
        assert not creating.done()
    await creating
    assert await storage.conversations.get(ALICE, record.id) == record


async def test_a_database_that_has_become_read_only_refuses_writes_and_serves_reads(
    database: SqliteDatabase,
) -> None:
    conversations, record = SqlConversationStore(database), conversation()
    await conversations.create(ALICE, record, [])
    database._writer._connection.execute("PRAGMA query_only=ON")
    with pytest.raises(StorageUnavailable):
        await conversations.delete(ALICE, record.id)
    assert await conversations.get(ALICE, record.id) == record
    database._writer._connection.execute("PRAGMA query_only=OFF")
    await conversations.delete(ALICE, record.id)


TESTS = Path(__file__).parents[2]

OPEN_WITHOUT_PRIVILEGES = f"""
import asyncio, os, sys
from pathlib import Path
from unit.storage.support import opened
from llama_conversations.errors import StorageUnavailable

async def attempt(path):
    try:
        async with opened(Path(path)):
            return "opened"
    except StorageUnavailable as error:
        return error

asyncio.run(attempt(sys.argv[2]))  # everything is imported by now
if os.getuid() == 0:
    os.chmod(os.path.dirname(sys.argv[1]), 0o555)
    os.setuid({NOBODY})  # root may write everywhere
print(asyncio.run(attempt(sys.argv[1])))
"""


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def test_a_file_that_may_not_be_written_cannot_be_opened_and_the_error_names_it(public_directory: Path) -> None:
    path = public_directory / "state.db"
    async with opened(path):
        pass
    before = made_read_only(path)
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", OPEN_WITHOUT_PRIVILEGES, str(path), str(public_directory / "warm-up.db")],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.stdout.startswith(f"The database {path} cannot be opened: "), finished.stderr
    assert content_of(path) == before


@pytest.mark.parametrize("content", [b"This is no database.\n" * 500, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    put(path, content)
    with pytest.raises(StorageUnavailable, match=r"state\.db cannot be"):
        async with opened(path):
            pass
    assert content_of(path) == content
    assert not files_beside(path, ".nodes/*")


async def test_a_database_that_cannot_be_upgraded_now_is_unavailable_and_says_why(tmp_path: Path) -> None:
    make_old(path := tmp_path / "state.db")
    with write_lock_held(path), pytest.raises(StorageUnavailable, match=r"cannot be upgraded: database is locked"):
        async with opened(path, busy_timeout_seconds=0.05):
            pass
    async with opened(path) as storage:
        await storage.health.ping()


async def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="cannot be opened"):
        async with opened(tmp_path):
            pass


async def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_database(tmp_path: Path) -> None:
    put(tmp_path / "file", b"in the way")
    with pytest.raises(StorageUnavailable, match=r"file/state\.db cannot be opened"):
        async with opened(tmp_path / "file" / "state.db"):
            pass


async def test_a_sqlite_that_is_too_old_is_named_with_the_version_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    monkeypatch.setattr(opening, "OLDEST_SQLITE", (99, 1, 0))
    with pytest.raises(StorageUnavailable, match=r"too old: 99\.1\.0 or newer is needed"):
        async with opened(path):
            pass
    assert not files_beside(path)


async def test_a_start_that_fails_leaves_no_process_that_seems_alive(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_database(path):
        pass

    def no_more_connections(*_: object) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(opening.SqliteDatabase, "__init__", no_more_connections)
    with pytest.raises(StorageUnavailable, match="too many open files"):
        async with opened(path):
            pass
    assert not files_beside(path, ".nodes/*")
