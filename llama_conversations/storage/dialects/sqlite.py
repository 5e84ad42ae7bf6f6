"""SQLite: one writer thread that commits many requests' writes together, and reader threads beside it.

A commit is one fsync whatever it holds, so the writer takes every unit of work that waits, runs each in a savepoint of
one transaction, commits once and then answers all of them (group commit). Nothing is answered before the commit: with
``synchronous=FULL`` an acknowledged write survives a loss of power (sqlite.org/pragma.html#pragma_synchronous).

Readers have connections of their own; in WAL mode neither side waits for the other (sqlite.org/wal.html).
"""

from __future__ import annotations

import asyncio
import queue
import random
import sqlite3
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from sqlalchemy.dialects import sqlite as sqlite_dialect

from llama_conversations.errors import ShuttingDown, StorageUnavailable
from llama_conversations.log import get_logger
from llama_conversations.storage.dialects.compiled import PositionalStatements, RowInsert
from llama_conversations.storage.dialects.sqlite_jobs import Job, JointJob, UnitJob, by_work
from llama_conversations.storage.news import LocalNews
from llama_conversations.storage.nodes import NodeLocks
from llama_conversations.storage.unit_of_work import JointWork, Row, Run, Served, Step, Unit

A = TypeVar("A")
T = TypeVar("T")

logger = get_logger(__name__)

OLDEST_SQLITE = (3, 35, 0)
"""The first version with RETURNING (sqlite.org/lang_returning.html)."""

MAX_GROUP = 256
"""Units of work that share a commit at the most."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two looks whether another process still writes."""

PAUSES = 50
"""The longer it has lasted, the longer the pause: this part of the time that has passed."""

_PRIMARY_CODE = 0xFF  # an error's code without its extension (sqlite.org/rescode.html)
CHECKPOINT_PAGES = 4000
"""Pages of the write-ahead log (16 MB) after which it is copied into the database; SQLite's own 1,000 come every few
commits of many requests, and the pages that all of them touch are copied each time."""

MOST_ROWS = 256
"""Rows that one statement inserts. Each statement gives the interpreter away and has to wait until it gets it back,
which is long where many requests are at work: row by row, 64 clients appended a fifth less."""

_CACHED_STATEMENTS = 256
DIALECT = sqlite_dialect.dialect(paramstyle="qmark")


@dataclass(frozen=True)
class SqliteSettings:
    """How the file is opened; ``busy_timeout`` in seconds, ``readers`` a number of threads."""

    path: Path
    synchronous: Literal["full", "normal"]
    busy_timeout: float
    readers: int


def connect(settings: SqliteSettings) -> sqlite3.Connection:
    """Open the file in WAL mode, with foreign keys on; transactions are ours to begin.

    What is deleted is overwritten where that costs no further writes (``secure_delete``), and the rest goes when the
    file is vacuumed. With ``ON`` every page that becomes free would be written, which is some in each longer turn.
    """
    connection = sqlite3.connect(
        settings.path,
        timeout=settings.busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    try:
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={settings.synchronous.upper()}",
            "foreign_keys=ON",
            f"wal_autocheckpoint={CHECKPOINT_PAGES}",
            "temp_store=MEMORY",
            "secure_delete=FAST",
            "cache_size=-32768",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _run(connection: sqlite3.Connection, statements: PositionalStatements, step: Step) -> Sequence[Row]:
    compiled = statements.compiled(step.statement)
    if isinstance(step, Run):
        return connection.execute(compiled.sql, compiled.values(step.parameters)).fetchall()
    if compiled.insert is None:
        connection.executemany(compiled.sql, map(compiled.values, step.parameters))
        return ()
    for at in range(0, len(step.parameters), MOST_ROWS):
        rows = step.parameters[at : at + MOST_ROWS]
        connection.execute(_insert_of(compiled.insert, len(rows)), compiled.all_values(rows))
    return ()


def _insert_of(insert: RowInsert, rows: int) -> str:
    row = f"({', '.join(insert.values)})"
    return f"{insert.head} VALUES {', '.join([row] * rows)}{insert.tail}"


def _drive(connection: sqlite3.Connection, statements: PositionalStatements, unit: Unit[T]) -> T:
    """Run a unit to its end: each statement that it yields, until it returns or raises."""
    try:
        step = next(unit)
        while True:
            step = unit.send(_run(connection, statements, step))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        unit.close()


def _failure(error: sqlite3.Error) -> Exception:
    """What the caller is told: the database cannot serve; or the error itself, where it is a fault of ours."""
    if isinstance(error, sqlite3.InterfaceError | sqlite3.ProgrammingError | sqlite3.IntegrityError):
        return error
    logger.error("the database failed: %s", error)
    return _unavailable(error)


def _unavailable(error: Exception) -> StorageUnavailable:
    failure = StorageUnavailable("The database is not available. Nothing was stored.")
    failure.__cause__ = error
    return failure


class _Worker(threading.Thread):
    """A thread with a connection of its own that runs the jobs put to it, in order."""

    def __init__(self, name: str, settings: SqliteSettings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name=name, daemon=True)
        self._connection = connect(settings)
        self._statements = PositionalStatements(DIALECT)
        self._loop = loop
        self._jobs: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()

    def put(self, job: Job[T]) -> None:
        self._jobs.put(job)  # type: ignore[arg-type]

    def stop(self) -> None:
        """End after the jobs that are waiting now."""
        self._jobs.put(None)

    def run(self) -> None:
        stopping = False
        while not stopping:
            group, stopping = self._next_group()
            if group:
                self._work_and_answer(group)
        self._connection.close()

    def _work_and_answer(self, group: Sequence[Job[object]]) -> None:
        """Whatever happens: who waits is answered, and the thread goes on."""
        try:
            self._work(group)
        except Exception as error:
            logger.exception("%s failed", self.name)
            for job in group:
                job.error = job.error or _unavailable(error)
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            self._loop.call_soon_threadsafe(_answer_all, group)

    def _next_group(self) -> tuple[list[Job[object]], bool]:
        """All jobs that wait (at least one: it waits for the first), and whether a stop came behind them."""
        group: list[Job[object]] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == MAX_GROUP or self._jobs.empty():
                return group, False
            job = self._jobs.get()
        return group, True

    def _work(self, group: Sequence[Job[object]]) -> None:
        raise NotImplementedError


def _answer_all(group: Sequence[Job[object]]) -> None:
    for job in group:
        job.answer()


class _Reader(_Worker):
    """Each unit is a read transaction: a snapshot of what is committed."""

    def _work(self, group: Sequence[Job[object]]) -> None:
        units, _ = by_work(group)
        for job in units:
            try:
                self._connection.execute("BEGIN")
                job.result = _drive(self._connection, self._statements, job.unit)
            except sqlite3.Error as error:
                job.error = _failure(error)
            except Exception as error:  # noqa: BLE001  (handed to whoever waits)
                job.error = error
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


class _Writer(_Worker):
    """Units that wait together are committed together; each is undone alone if it raises."""

    def __init__(self, name: str, settings: SqliteSettings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name, settings, loop)
        self._busy_timeout = settings.busy_timeout
        self._synchronous, self._durable = settings.synchronous.upper(), True
        self._connection.execute("PRAGMA busy_timeout=0")  # it waits by itself, in ``_begin``

    def _begin(self) -> None:
        """Begin to write; waits while another process does.

        SQLite's own way to wait looks again after up to 100 ms, and in between a process that has much to write takes
        its next turn, and the next: with three busy ones a write took up to 1.3 s, against 0.2 s by this one. It looks
        often at first, and at random, so that each gets its turn.
        """
        began = time.monotonic()
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or waited > self._busy_timeout:
                    raise
            pause = min(max(SHORTEST_PAUSE, waited / PAUSES), LONGEST_PAUSE)
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  (no secret)

    def _work(self, group: Sequence[Job[object]]) -> None:
        try:
            self._settle_durability(any(job.durable for job in group))
            self._begin()
            units, joint = by_work(group)
            for work, shares in joint.items():
                self._work_jointly(work, shares)
            for job in units:
                self._work_on(job, job.unit)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(group, error)

    def _settle_durability(self, durable: bool) -> None:
        """Whether the next commit waits for the disk; one that does takes along what was committed before it."""
        if durable != self._durable:
            self._connection.execute(f"PRAGMA synchronous={self._synchronous if durable else 'NORMAL'}")
            self._durable = durable

    def _work_jointly(self, work: JointWork[A, T], shares: Sequence[JointJob[A, T]]) -> None:
        """Do what all ask for at once, and for those who were not served what each asks for."""
        served: Sequence[Served[T] | None] = [None] * len(shares)
        if len(shares) > 1:
            try:
                served = self._undoable(work.together([job.request for job in shares]))
            except Exception as error:
                if not self._connection.in_transaction:
                    raise
                logger.warning("what %d asked for is done for each by itself: %s", len(shares), error)
        for job, done in zip(shares, served, strict=True):
            if done is None:
                self._work_on(job, work.alone(job.request))
            else:
                job.result = done.result

    def _work_on(self, job: Job[T], unit: Unit[T]) -> None:
        try:
            job.result = self._undoable(unit)
        except sqlite3.Error as error:
            # Some failures (a full disk, an I/O error) roll the whole transaction back: then nothing of the group
            # is there any more (sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction).
            if not self._connection.in_transaction:
                raise
            job.error = _failure(error)
        except Exception as error:  # noqa: BLE001  (handed to whoever waits)
            job.error = error

    def _undoable(self, unit: Unit[T]) -> T:
        """Run a unit; undone alone if it raises."""
        self._connection.execute("SAVEPOINT unit")
        try:
            return _drive(self._connection, self._statements, unit)
        except Exception:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO unit")
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE unit")

    def _fail(self, group: Sequence[Job[object]], error: sqlite3.Error) -> None:
        logger.error("the database failed: %s", error)
        for job in group:
            job.error = job.error or _unavailable(error)
        for job in by_work(group)[0]:
            job.unit.close()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class SqliteDatabase:
    """A SQLite file; implements ``storage.database.Database``."""

    def __init__(self, settings: SqliteSettings, locks: NodeLocks) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._locks, self._news = loop, locks, LocalNews()
        self._writer = _Writer("sqlite-writer", settings, loop)
        self._readers = [_Reader(f"sqlite-reader-{n}", settings, loop) for n in range(settings.readers)]
        self._next_reader = 0
        self._closed = False
        for worker in self._workers:
            worker.start()

    @property
    def _workers(self) -> Sequence[_Worker]:
        return (self._writer, *self._readers)

    @property
    def news(self) -> LocalNews:
        """Within this process: a file tells nobody that it has changed."""
        return self._news

    @property
    def node(self) -> str:
        """The name under which this process holds leases."""
        return self._locks.node

    def dead_nodes(self, nodes: Collection[str]) -> Collection[str]:
        """Those whose process no longer holds its lock file."""
        return [node for node in nodes if self._locks.is_dead(node)]

    async def read(self, unit: Unit[T]) -> T:
        """Run a unit that only reads, on the next reader in turn."""
        self._next_reader = (self._next_reader + 1) % len(self._readers)
        return await self._put(self._readers[self._next_reader], UnitJob(self._loop.create_future(), unit))

    async def write(self, unit: Unit[T], *, durable: bool = True) -> T:
        """Run a unit that writes; durable when this returns, if it should be."""
        return await self._put(self._writer, UnitJob(self._loop.create_future(), unit, durable=durable))

    async def write_jointly(self, work: JointWork[A, T], request: A, *, durable: bool = True) -> T:
        """Do what is asked for, together with what others ask for who wait for the same commit."""
        return await self._put(self._writer, JointJob(self._loop.create_future(), work, request, durable=durable))

    async def _put(self, worker: _Worker, job: Job[T]) -> T:
        if self._closed:
            raise ShuttingDown
        worker.put(job)
        return await job.future

    async def close(self) -> None:
        """Finish what waits, then close the connections."""
        self._closed = True
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            await asyncio.to_thread(worker.join)
        self._locks.release()
