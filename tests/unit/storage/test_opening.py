"""Opening storage: the schema is made once, by whoever comes first, as a whole; a newer one is refused."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.pool import NullPool

from llama_conversations.errors import DatabaseTooNew, StorageUnavailable
from llama_conversations.storage.migrations import HEAD_REVISION, upgrade
from llama_conversations.storage.open import open_storage
from llama_conversations.storage.tables import metadata
from llama_conversations.storage.unit_of_work import Row
from unit.storage.support import ALICE, conversation, opened, rows, storage_config

TESTS = Path(__file__).parents[2]
PROCESSES = 6

OPEN_AND_WRITE = """
import asyncio, sys
from pathlib import Path
from unit.storage.support import ALICE, conversation, opened

async def main():
    async with opened(Path(sys.argv[1])) as storage:
        await storage.conversations.create(ALICE, conversation(), [])

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
"""

DIE_IN_MID_CREATION = """
import asyncio, os, signal, sys
from itertools import islice
from pathlib import Path
from llama_conversations.storage import open as opening
from unit.storage.support import opened

whole_schema = opening.whole_schema

def dying(dialect):
    yield from islice(whole_schema(dialect), int(sys.argv[2]))
    os.kill(os.getpid(), signal.SIGKILL)

opening.whole_schema = dying

async def main():
    async with opened(Path(sys.argv[1])):
        pass

asyncio.run(main())
"""

DIE_IN_MID_MIGRATION = """
import asyncio, os, signal, sys
from pathlib import Path
from alembic import op
from unit.storage.support import opened

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

op.create_index = die

async def main():
    async with opened(Path(sys.argv[1])):
        pass

asyncio.run(main())
"""

OPEN = """
import asyncio, sys
from pathlib import Path
from unit.storage.support import opened

async def main():
    async with opened(Path(sys.argv[1])):
        print([name for name in sys.modules if name.partition(".")[0] in ("alembic", "aiosqlite")])

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Nothing is there yet."""
    return tmp_path / "state.db"


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def schema(path: Path) -> set[tuple[str, str]]:
    """Every table and index with its SQL, spaces aside."""
    found = rows(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
    return {(str(name), " ".join(str(sql).split())) for name, sql in found}


def content(path: Path) -> dict[str, list[Row]]:
    """What SQLite tells of the columns (in their order), keys and indexes of every table, and the rows that it has."""
    told = {}
    for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
        told[f"{name} columns"] = rows(path, f"PRAGMA table_xinfo('{name}')")
        told[f"{name} foreign keys"] = rows(path, f"PRAGMA foreign_key_list('{name}')")
        told[f"{name} indexes"] = sorted(row[1:] for row in rows(path, f"PRAGMA index_list('{name}')"))
        told[f"{name} rows"] = sorted(rows(path, f"SELECT * FROM {name}"))
    for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name"):
        told[f"{name} index"] = rows(path, f"PRAGMA index_xinfo('{name}')")
    return told


def migrate(path: Path, revision: str) -> None:
    """Apply the revisions up to one, as an older version of this software has."""
    config = upgrade.alembic_config()
    with connected(path) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


async def assert_serves(path: Path) -> None:
    """The database has the whole schema once it is opened, and keeps what it is given."""
    async with opened(path) as storage:
        record = conversation()
        await storage.conversations.create(ALICE, record, [])
        assert await storage.conversations.get(ALICE, record.id) == record


def connected(path: Path) -> Connection:
    return create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool).connect()


def test_processes_that_open_an_empty_place_at_once_all_serve(path: Path) -> None:
    path = path.parent / "made" / "on the way" / "state.db"
    processes = [python(OPEN_AND_WRITE, path) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [(process.communicate(timeout=90)[1], process.returncode) for process in processes]
    assert [code for _, code in outcomes] == [0] * PROCESSES, outcomes
    assert rows(path, "SELECT count(*) FROM conversations") == [(PROCESSES,)]
    assert rows(path, "SELECT version_num FROM alembic_version") == [(HEAD_REVISION,)]


async def test_stacks_of_one_process_that_open_an_empty_place_at_once_all_serve(path: Path) -> None:
    async with AsyncExitStack() as stack:
        storages = await asyncio.gather(*(stack.enter_async_context(opened(path)) for _ in range(4)))
        await asyncio.gather(*(storage.conversations.create(ALICE, conversation(), []) for storage in storages))
    assert rows(path, "SELECT count(*) FROM conversations") == [(4,)]


@pytest.mark.parametrize("statements", [1, 7, 1000])
async def test_a_process_that_is_killed_while_it_makes_the_schema_leaves_nothing_and_the_next_one_makes_the_whole(
    path: Path, statements: int
) -> None:
    process = python(DIE_IN_MID_CREATION, path, statements)
    _, errors = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == -9, errors
    assert rows(path, "SELECT name FROM sqlite_master") == []
    await assert_serves(path)


async def test_a_process_that_is_killed_in_mid_migration_leaves_what_was_and_the_next_one_makes_the_whole_schema(
    path: Path,
) -> None:
    migrate(path, "0001")
    before = schema(path)
    process = python(DIE_IN_MID_MIGRATION, path)
    _, errors = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == -9, errors
    assert schema(path) == before
    await assert_serves(path)


async def test_a_database_of_any_older_revision_becomes_what_an_empty_one_becomes(path: Path) -> None:
    async with opened(path):
        pass
    for revision in (f"{number:04}" for number in range(1, int(HEAD_REVISION))):
        older = path.with_name(f"from {revision}.db")
        migrate(older, revision)
        async with opened(older):
            pass
        assert content(older) == content(path), revision


async def test_the_schema_that_the_migrations_make_is_that_of_the_tables(path: Path) -> None:
    migrate(path, "head")
    with connected(path) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    twin = path.with_name("twin.db")
    async with opened(twin):
        pass
    assert content(path) == content(twin)
    assert schema(path) == schema(twin)  # checks, partial indexes and WITHOUT ROWID, too


async def test_a_table_of_revisions_with_nothing_in_it_is_no_schema(path: Path) -> None:
    with connected(path) as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.commit()
    await assert_serves(path)
    assert rows(path, "SELECT version_num FROM alembic_version") == [(HEAD_REVISION,)]


async def test_somebody_elses_tables_are_left_alone(path: Path) -> None:
    with connected(path) as connection:
        connection.exec_driver_sql("CREATE TABLE prompts (theirs TEXT)")
        connection.commit()
    before = schema(path)
    with pytest.raises(StorageUnavailable, match="cannot be upgraded: table prompts already exists"):
        async with opened(path):
            pass
    assert schema(path) == before


def test_the_newest_revision_is_the_one_that_the_code_knows_as_such() -> None:
    scripts = ScriptDirectory.from_config(upgrade.alembic_config())
    assert scripts.get_heads() == [HEAD_REVISION]


def test_a_database_that_is_empty_or_up_to_date_is_opened_without_alembic(path: Path) -> None:
    for _ in range(2):
        output, errors = python(OPEN, path).communicate(timeout=60)
        assert output == "[]\n", errors


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    async with opened(path) as storage:
        await storage.conversations.create(ALICE, conversation(), [])
    with connected(path) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.exec_driver_sql("ALTER TABLE conversations ADD COLUMN added_later TEXT")
        connection.commit()
    before = schema(path)
    with pytest.raises(DatabaseTooNew, match=rf"{path} has schema revision 9999, newer than {HEAD_REVISION}") as found:
        async with opened(path):
            pass
    assert (found.value.found, found.value.known) == ("9999", HEAD_REVISION)
    assert schema(path) == before
    assert rows(path, "SELECT version_num FROM alembic_version") == [("9999",)]


@pytest.mark.parametrize("name", ["50% of it.db", "what?mode=ro#x.db", "a b;c&d.db", "ünï.db"])
async def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    record = conversation()
    async with opened(tmp_path / name) as storage:
        assert storage.location == str(tmp_path / name)
        await storage.conversations.create(ALICE, record, [])
    async with opened(tmp_path / name) as storage:
        assert await storage.conversations.get(ALICE, record.id) == record
    assert rows(tmp_path / name, "SELECT count(*) FROM conversations") == [(1,)]


def test_the_software_may_lie_in_a_folder_of_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "__file__", "/opt/100%/migrations/upgrade.py")
    assert upgrade.alembic_config().get_main_option("script_location") == "/opt/100%/migrations"


async def test_each_store_lies_in_the_database_that_is_named_for_it(tmp_path: Path) -> None:
    config = storage_config(tmp_path / "default.db")
    files = {name: {"type": "sql_sqlite", "path": str(tmp_path / f"{name}.db")} for name in ("state", "rest")}
    stores = {name: {"backend": backend} for name, backend in (("state", "state"), ("prompts", "rest"))}
    config = type(config).model_validate({"backends": files, "stores": {**stores, "registry": {"backend": "rest"}}})
    async with open_storage(config, 30) as storage:
        await storage.conversations.create(ALICE, conversation(), [])
        assert storage.location == str(tmp_path / "state.db")
    assert rows(tmp_path / "state.db", "SELECT count(*) FROM conversations") == [(1,)]
    assert rows(tmp_path / "rest.db", "SELECT count(*) FROM conversations") == [(0,)]
