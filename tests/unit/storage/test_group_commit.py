"""The SQLite database: what shares a commit, and what becomes of each unit of work whatever happens to the others."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import bindparam, text

from llama_conversations.errors import ShuttingDown, StorageUnavailable
from llama_conversations.storage import tables
from llama_conversations.storage.dialects.sqlite import MAX_GROUP, MOST_ROWS, SqliteDatabase
from llama_conversations.storage.unit_of_work import Row, Run, RunMany, Statement, Unit
from unit.storage.support import opened_database, rows, run

INSERT = Statement(text("INSERT INTO resources (kind, provider_id, identifier, data) VALUES ('k', 'p', :name, '{}')"))
INSERT_RETURNING = Statement(
    text("INSERT INTO resources (kind, provider_id, identifier, data) VALUES ('k', 'p', :name, '{}') RETURNING *")
)
COUNT = Statement(text("SELECT count(*) FROM resources"))
ORPHAN = Statement(text("INSERT INTO prompt_versions VALUES ('nobody', 1, '', '[]', 0)"))
DEFER = Statement(text("PRAGMA defer_foreign_keys=ON"))
GARBAGE = Statement(text("SELECT FROM WHERE"))


class Refused(Exception):
    pass


def insert(*names: str, then: BaseException | None = None) -> Unit[str]:
    for name in names:
        yield Run(INSERT, {"name": name})
    if then is not None:
        raise then
    return names[-1]


def insert_at_a_gate(name: str, reached: threading.Event, gate: threading.Event) -> Unit[None]:
    """Holds the thread that runs it until the gate is opened."""
    yield Run(INSERT, {"name": name})
    reached.set()
    assert gate.wait(20)


@asynccontextmanager
async def writer_held(database: SqliteDatabase, name: str = "held") -> AsyncIterator[None]:
    """While this is open, everything that is written waits: then it is one group."""
    reached, gate = threading.Event(), threading.Event()
    held = asyncio.ensure_future(database.write(insert_at_a_gate(name, reached, gate)))
    assert await asyncio.to_thread(reached.wait, 20)
    try:
        yield
    finally:
        gate.set()
        await held


async def submitted(*writes: asyncio.Task[object]) -> None:
    """Every one of these has reached the database's queue."""
    await asyncio.sleep(0)


def names(path: Path) -> set[str]:
    return {str(name) for (name,) in rows(path, "SELECT identifier FROM resources")}


@contextmanager
def statements_of_writer(database: SqliteDatabase) -> Iterator[list[str]]:
    seen: list[str] = []
    database._writer._connection.set_trace_callback(seen.append)
    yield seen
    database._writer._connection.set_trace_callback(None)


async def test_writes_that_wait_together_share_one_commit(database: SqliteDatabase, path: Path) -> None:
    with statements_of_writer(database) as statements:
        async with writer_held(database):
            writes = [asyncio.ensure_future(database.write(insert(f"n{n}"))) for n in range(50)]
            await submitted(*writes)
        assert await asyncio.gather(*writes) == [f"n{n}" for n in range(50)]
    assert statements.count("COMMIT") == 2  # the one that was held, and all others
    assert len(names(path)) == 51


async def test_a_group_is_no_larger_than_its_limit(database: SqliteDatabase, path: Path) -> None:
    with statements_of_writer(database) as statements:
        async with writer_held(database):
            writes = [asyncio.ensure_future(database.write(insert(f"n{n}"))) for n in range(MAX_GROUP + 1)]
            await submitted(*writes)
        await asyncio.gather(*writes)
    assert statements.count("COMMIT") == 3
    assert len(names(path)) == MAX_GROUP + 2


async def test_a_unit_that_raises_in_a_group_leaves_nothing_and_the_others_stay(
    database: SqliteDatabase, path: Path
) -> None:
    async with writer_held(database):
        units = [insert(f"n{n}", f"m{n}", then=Refused(n) if n == 7 else None) for n in range(20)]
        writes = [asyncio.ensure_future(database.write(unit)) for unit in units]
        await submitted(*writes)
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, Refused)] == [7]
    expected = {f"{letter}{n}" for letter in "nm" for n in range(20) if n != 7}
    assert names(path) == expected | {"held"}


async def test_a_broken_constraint_in_a_group_undoes_its_unit_alone(database: SqliteDatabase, path: Path) -> None:
    async with writer_held(database):
        writes = [asyncio.ensure_future(database.write(insert(f"n{n}", f"n{n % 19}x"))) for n in range(20)]
        await submitted(*writes)
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [str] * 19 + [sqlite3.IntegrityError]
    assert "n19" not in names(path)
    assert len(names(path)) == 39


async def test_a_unit_that_raises_before_its_first_statement_leaves_nothing(
    database: SqliteDatabase, path: Path
) -> None:
    with pytest.raises(Refused):
        await database.write(insert(then=Refused()))
    assert names(path) == set()


async def test_a_statement_that_is_no_sql_fails_its_unit_and_the_database_goes_on(database: SqliteDatabase) -> None:
    for call in (database.write, database.read):
        with pytest.raises(StorageUnavailable):
            await call(run(GARBAGE))
        with pytest.raises(KeyError):
            await call(run(INSERT))  # a value is missing: a fault of ours, told as it is
    await database.write(insert("fine"))


async def test_rows_are_inserted_by_few_statements_in_their_order(database: SqliteDatabase, path: Path) -> None:
    columns = ("kind", "provider_id", "identifier", "data")
    whole = Statement(sqlalchemy.insert(tables.resources).values({name: bindparam(name) for name in columns}))
    sets = [dict(zip(columns, ("k", "p", f"n{n:03}", str(n)), strict=True)) for n in range(2 * MOST_ROWS + 7)]

    def unit() -> Unit[None]:
        yield RunMany(whole, sets)

    with statements_of_writer(database) as statements:
        await database.write(unit())
    assert sum(statement.startswith("INSERT") for statement in statements) == 3  # 64, 64 and 7
    assert rows(path, "SELECT * FROM resources ORDER BY identifier") == [tuple(each.values()) for each in sets]


async def test_returning_rows_are_sent_to_the_unit(database: SqliteDatabase) -> None:
    assert await database.write(run(INSERT_RETURNING, name="a")) == [("k", "p", "a", "{}")]
    assert await database.write(run(INSERT, name="b")) == []


async def test_a_statement_is_run_once_per_set_of_parameters(database: SqliteDatabase, path: Path) -> None:
    def unit(sets: Sequence[dict[str, str]]) -> Unit[Sequence[Row]]:
        return (yield RunMany(INSERT, sets))

    assert await database.write(unit([{"name": "a"}, {"name": "b"}])) == ()
    assert await database.write(unit([])) == ()
    assert names(path) == {"a", "b"}


async def test_a_read_sees_what_was_acknowledged_before(database: SqliteDatabase) -> None:
    for n in range(1, 30):
        await database.write(insert(f"n{n}"))
        counts = await asyncio.gather(*(database.read(run(COUNT)) for _ in range(3)))
        assert counts == [[(n,)]] * 3


async def test_a_unit_that_reads_sees_one_state_of_the_database_however_long_it_takes(
    database: SqliteDatabase,
) -> None:
    reached, gate = threading.Event(), threading.Event()

    def twice() -> Unit[tuple[Sequence[Row], Sequence[Row]]]:
        before = yield Run(COUNT, {})
        reached.set()
        assert gate.wait(20)
        return before, (yield Run(COUNT, {}))

    reading = asyncio.ensure_future(database.read(twice()))
    assert await asyncio.to_thread(reached.wait, 20)
    await database.write(insert("meanwhile"))  # and a reader does not keep the writer waiting
    gate.set()
    assert await reading == ([(0,)], [(0,)])


async def test_a_unit_that_only_reads_cannot_keep_what_it_writes(database: SqliteDatabase, path: Path) -> None:
    await database.read(insert("stray"))
    assert names(path) == set()


async def test_a_caller_that_is_cancelled_while_it_waits_does_not_undo_its_write(
    database: SqliteDatabase, path: Path
) -> None:
    async with writer_held(database):
        write = asyncio.ensure_future(database.write(insert("wanted")))
        await submitted(write)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
    await database.write(insert("later"))
    assert {"wanted", "later"} <= names(path)


async def test_a_commit_that_fails_stores_nothing_of_its_group_and_the_next_one_works(
    database: SqliteDatabase, path: Path
) -> None:
    def orphan() -> Unit[None]:
        yield Run(DEFER, {})  # the constraint is looked at by COMMIT
        yield Run(ORPHAN, {})

    async with writer_held(database):
        good = asyncio.ensure_future(database.write(insert("good")))
        bad = asyncio.ensure_future(database.write(orphan()))
        refused = asyncio.ensure_future(database.write(insert("refused", then=Refused())))
        await submitted(good, bad, refused)
    results = await asyncio.gather(good, bad, refused, return_exceptions=True)
    assert [type(result) for result in results] == [StorageUnavailable, StorageUnavailable, Refused]
    assert results[0] is not results[1]
    assert names(path) == {"held"}
    await database.write(insert("after"))
    assert names(path) == {"held", "after"}


async def test_every_unit_of_a_group_that_fails_is_closed(database: SqliteDatabase) -> None:
    closed: list[str] = []

    def unit(name: str) -> Unit[None]:
        try:
            yield Run(DEFER, {})
            yield Run(ORPHAN, {})
        finally:
            closed.append(name)

    async with writer_held(database):
        writes = [asyncio.ensure_future(database.write(unit(name))) for name in "ab"]
        await submitted(*writes)
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    assert sorted(closed) == ["a", "b"]


async def test_a_thread_that_meets_the_unforeseen_answers_and_goes_on(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for worker, call in ((database._writer, database.write), (database._readers[0], database.read)):
        with monkeypatch.context() as patched:
            patched.setattr(worker, "_work", lambda group: 1 / 0)
            patched.setattr(database, "_next_reader", -1)
            with caplog.at_level(logging.CRITICAL), pytest.raises(StorageUnavailable) as failed:
                await call(run(COUNT))
            assert isinstance(failed.value.__cause__, ZeroDivisionError)
        assert await call(run(COUNT)) == [(0,)]


async def test_closing_loses_no_write_that_was_acknowledged_and_none_is_left_waiting(path: Path) -> None:
    async with opened_database(path) as database:
        async with writer_held(database):
            writes = [asyncio.ensure_future(database.write(insert(f"n{n}"))) for n in range(3 * MAX_GROUP)]
            reads = [asyncio.ensure_future(database.read(run(COUNT))) for _ in range(20)]
            await submitted(*writes)
            closing = asyncio.ensure_future(database.close())
            await submitted(closing)
            with pytest.raises(ShuttingDown):
                await database.write(insert("too late"))
            with pytest.raises(ShuttingDown):
                await database.read(run(COUNT))
        await closing
        assert all(write.done() for write in (*writes, *reads))
        acknowledged = {await write for write in writes}
    assert names(path) == acknowledged | {"held"}


async def test_closing_twice_is_closing_once(path: Path) -> None:
    async with opened_database(path) as database:
        await database.close()
        await database.close()


def test_a_loop_that_ends_without_closing_leaves_what_was_written_and_no_noise(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise: list[object] = []
    monkeypatch.setattr(threading, "excepthook", noise.append)
    reached, gate = threading.Event(), threading.Event()

    async def leave() -> SqliteDatabase:
        opening = opened_database(path)
        database = await opening.__aenter__()
        abandoned.append(opening)
        writing = asyncio.ensure_future(database.write(insert_at_a_gate("held", reached, gate)))
        assert await asyncio.to_thread(reached.wait, 20)
        writing.cancel()
        return database

    abandoned: list[object] = []
    loop = asyncio.new_event_loop()
    database = loop.run_until_complete(leave())
    loop.close()
    gate.set()
    database._writer.stop()
    database._writer.join(20)
    assert not database._writer.is_alive()
    assert noise == []
    assert names(path) == {"held"}
    for reader in database._readers:
        reader.stop()
        reader.join(20)
    database._locks.release()


async def test_a_connection_keeps_foreign_keys_writes_ahead_and_syncs_every_commit(database: SqliteDatabase) -> None:
    pragmas = {"foreign_keys": 1, "journal_mode": "wal", "synchronous": 2}
    for name, value in pragmas.items():
        pragma = Statement(text(f"PRAGMA {name}"))
        assert await database.write(run(pragma)) == [(value,)]
        assert await database.read(run(pragma)) == [(value,)]
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(run(ORPHAN))


async def test_commits_are_not_synced_where_the_settings_say_so(path: Path) -> None:
    async with opened_database(path, synchronous="normal") as database:
        assert await database.write(run(Statement(text("PRAGMA synchronous")))) == [(1,)]


@pytest.mark.parametrize(("durable", "level"), [((False, False), 1), ((False, True), 2), ((True,), 2)])
async def test_a_commit_waits_for_the_disk_if_one_of_its_units_has_to(
    database: SqliteDatabase, path: Path, durable: Sequence[bool], level: int
) -> None:
    await database.write(insert("hasty"), durable=False)
    async with writer_held(database):
        asked = Statement(text("PRAGMA synchronous"))
        waiting = [asyncio.ensure_future(database.write(run(asked), durable=each)) for each in durable]
        await asyncio.sleep(0)
    assert [(await written)[0][0] for written in waiting] == [level] * len(durable)
    assert rows(path, "SELECT count(*) FROM resources WHERE identifier = 'hasty'") == [(1,)]
