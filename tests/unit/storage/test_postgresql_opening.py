"""Opening PostgreSQL: the schema is made once by whoever comes first, as a whole; a newer one is refused."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import create_async_engine

from harness.postgres import Cluster
from llama_conversations.errors import DatabaseTooNew, StorageUnavailable
from llama_conversations.storage import open_postgresql
from llama_conversations.storage.migrations import HEAD_REVISION
from llama_conversations.storage.migrations.upgrade_postgresql import upgrade_postgresql
from llama_conversations.storage.migrations.whole_schema import whole_schema
from llama_conversations.storage.tables import metadata
from unit.storage.support import ALICE, change, conversation, opened, rows, storage_config
from unit.storage.test_opening import OPEN, OPEN_AND_WRITE, PROCESSES, TESTS

pytestmark = pytest.mark.databases("postgres")

INDEXED_COLLATIONS = """
SELECT DISTINCT collname FROM pg_index
CROSS JOIN LATERAL unnest(indcollation::oid[]) AS of_column
JOIN pg_collation ON pg_collation.oid = of_column
JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
"""

_OURS = "relnamespace = 'public'::regnamespace"
SCHEMA = (
    f"SELECT relname, relkind, relpersistence, reloptions FROM pg_class WHERE {_OURS} ORDER BY 1",
    f"""
    SELECT relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attcollation, attstorage,
        attoptions, pg_get_expr(adbin, adrelid) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE {_OURS} AND attnum > 0 ORDER BY 1, 2
    """,
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    f"""
    SELECT conname, relname, pg_get_constraintdef(pg_constraint.oid) FROM pg_constraint
    JOIN pg_class ON pg_class.oid = conrelid WHERE {_OURS} ORDER BY 1, 2
    """,
    "SELECT name, holder, expires_at FROM leases ORDER BY 1",
    "SELECT version_num FROM alembic_version",
)
"""What there is to be told of a schema: tables with their storage, columns, indexes, constraints and first rows."""

WITHOUT_THE_DRIVER = """
import asyncio, sys
from pathlib import Path
from unit.storage.support import opened

sys.modules["asyncpg"] = None

async def main():
    async with opened(Path(sys.argv[1])):
        pass

try:
    asyncio.run(main())
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def empty(tmp_path: Path, postgres: Cluster) -> Path:
    """A database with nothing in it."""
    path = tmp_path / "empty.json"
    path.write_text(json.dumps(postgres.backend(postgres.empty_database())))
    return path


def without_editions(dialect: Dialect) -> Iterator[str]:
    """The schema of revision 0005."""
    for statement in whole_schema(dialect):
        yield re.sub(r"\tedition [^,]*, \n", "", statement).replace(HEAD_REVISION, "0005")


def python(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_processes_that_start_at_once_on_an_empty_database_share_it(empty: Path) -> None:
    processes = [python(OPEN_AND_WRITE, empty) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told = [process.communicate("go\n", timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, told
    assert rows(empty, "SELECT count(*) FROM conversations") == [(PROCESSES,)]
    assert rows(empty, "SELECT version_num FROM alembic_version") == [(HEAD_REVISION,)]


async def test_stacks_that_open_at_once_on_an_empty_database_share_it(empty: Path) -> None:
    async def open_and_write() -> None:
        async with opened(empty, pool_size=2) as storage:
            await storage.conversations.create(ALICE, conversation(), [])

    await asyncio.gather(*(open_and_write() for _ in range(10)))
    assert rows(empty, "SELECT count(*) FROM conversations") == [(10,)]


def test_a_database_that_is_empty_or_up_to_date_is_opened_without_alembic(empty: Path) -> None:
    for _ in range(2):
        output, errors = python(OPEN, empty).communicate(timeout=60)
        assert output == "[]\n", errors


async def test_a_schema_that_cannot_be_made_leaves_nothing(empty: Path, postgres: Cluster) -> None:
    change(empty, "CREATE TABLE prompts (theirs TEXT)")
    with pytest.raises(StorageUnavailable, match='cannot be upgraded: relation "prompts" already exists'):
        async with opened(empty):
            pass
    assert rows(empty, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [("prompts",)]


async def test_whoever_finds_an_older_schema_once_he_has_the_lock_upgrades_it(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with an older version has made it, between the first look and the lock."""
    monkeypatch.setattr(open_postgresql, "whole_schema", without_editions)
    async with opened(empty):
        pass
    assert rows(empty, "SELECT version_num FROM alembic_version") == [(HEAD_REVISION,)]


async def test_the_schema_that_the_migrations_make_is_that_of_the_tables(empty: Path, path: Path) -> None:
    settings = open_postgresql.postgresql_settings(storage_config(empty).backends["default"])  # type: ignore[arg-type]
    await upgrade_postgresql(settings, open_postgresql.UPGRADE_LOCK)
    for about in SCHEMA:
        found = rows(empty, about)
        assert found == rows(path, about)
        assert found


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    change(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseTooNew, match="schema revision 9999"):
        async with opened(path):
            pass
    assert rows(path, "SELECT version_num FROM alembic_version") == [("9999",)]


async def test_a_database_in_which_nothing_may_be_made_is_told(empty: Path, postgres: Cluster) -> None:
    name = storage_config(empty).backends["default"].location.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StorageUnavailable, match="cannot be upgraded"):
        async with opened(empty):
            pass


async def test_the_schema_is_what_the_tables_say(path: Path) -> None:
    dsn = storage_config(path).backends["default"].address.dsn  # type: ignore[union-attr]
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        found = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
        )
    await engine.dispose()
    assert found == []


async def test_ids_are_ordered_by_their_bytes_whatever_the_database_does(path: Path) -> None:
    assert rows(path, INDEXED_COLLATIONS) == [("C",)]


def test_without_the_driver_it_is_said_how_to_get_it(path: Path) -> None:
    told = python(WITHOUT_THE_DRIVER, path).communicate(timeout=60)[0]
    assert told.startswith("StorageUnavailable PostgreSQL needs a package")
    assert "pip install 'llama-conversations[postgres]'" in told
