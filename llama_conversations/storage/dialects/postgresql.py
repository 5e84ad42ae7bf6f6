"""PostgreSQL: each unit of work awaits its statements in a transaction of its own, on a connection of a pool.

Transactions are READ COMMITTED: the units are written for it. Whatever decides is decided under the lock of a row, and
rows are locked in one order: conversations, then responses and their events, then idempotency keys. So units wait for
each other, and never in a circle; one that is undone all the same (a deadlock, a time-out, a server that stops) is
told as ``StorageUnavailable``: nothing of it was stored. Only when the connection breaks while the server commits does
nobody know: that is told as ``OutcomeUnknown``.

Units that read have no transaction, unless a pooler asks for one: each statement is a snapshot of its own, and a unit's
answer holds for the moment of its last statement that found something.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar, cast

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine.interfaces import Dialect

from llama_conversations.errors import ShuttingDown
from llama_conversations.storage.dialects.compiled import PositionalStatements, RowInsert
from llama_conversations.storage.dialects.postgresql_failures import (
    DRIVER_ERRORS,
    commit_failure,
    failure,
    is_lost,
    unavailable,
)
from llama_conversations.storage.dialects.postgresql_joint import JointWrites
from llama_conversations.storage.dialects.postgresql_news import ListeningConnection, PostgresqlNews
from llama_conversations.storage.dialects.postgresql_outage import Reachability
from llama_conversations.storage.dialects.postgresql_tls import TlsSettings
from llama_conversations.storage.news import LocalNews
from llama_conversations.storage.unit_of_work import JointWork, Row, Run, SqlValue, Step, Unit

A = TypeVar("A")
T = TypeVar("T")

PREPARED_STATEMENTS = 512
"""Statements that a connection keeps prepared: all that there are."""

_GRACE_SECONDS = 5.0
"""How long a server that ought to have given a statement up is waited for."""

DIALECT: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


def new_node() -> str:
    """A name for this process: it says where it runs, and no other has it, whatever runs there later."""
    machine = re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())[:20]
    return f"{machine}-{os.getpid()}-{secrets.token_hex(4)}"


ConnectArgument: TypeAlias = str | int | float | Mapping[str, str]


class Connection(Protocol):
    """What is used of ``asyncpg.Connection``, which has no types. Errors of all that wait: ``DRIVER_ERRORS``."""

    async def execute(self, query: str) -> str:
        """Run statements without parameters in one round trip; the last one's command tag."""
        ...

    async def fetch(self, query: str, *values: SqlValue | Sequence[SqlValue]) -> Sequence[Row]:
        """Run a statement; its rows. A sequence is an array."""
        ...

    async def executemany(self, query: str, values: Sequence[Sequence[SqlValue]]) -> None:
        """Run a statement once per set of values, in one round trip."""
        ...

    def is_closed(self) -> bool:
        """Whether it is known to be broken, or was closed."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open, or failed."""
        ...

    def terminate(self) -> None:
        """Close it at once."""
        ...

    async def close(self) -> None:
        """Say good-bye and close it."""
        ...


class Pool(Protocol):
    """What is used of ``asyncpg.Pool``."""

    async def acquire(self, *, timeout: float) -> Connection:  # noqa: ASYNC109  (asyncpg's own name)
        """A connection that nobody else has."""
        ...

    async def release(self, connection: Connection) -> None:
        """Give it back."""
        ...

    async def close(self) -> None:
        """Close all connections, when they are given back."""
        ...

    def terminate(self) -> None:
        """Close all connections at once."""
        ...


@dataclass(frozen=True)
class PostgresqlSettings:
    """How a server is reached; times in seconds.

    Attributes:
        dsn: A URL as libpq defines it, everything in it encoded.
        location: The server and its database, for people: no secrets.
        node: The name of this process, which the server's lists of connections show, too.
        pool_size: Connections at the most.
        transaction_pooling: A pooler may give each transaction another connection to the server: nothing may be
            expected of the session.
    """

    dsn: str
    location: str
    tls: TlsSettings
    node: str
    pool_size: int
    statement_timeout: float
    connect_timeout: float
    transaction_pooling: bool

    @property
    def limits(self) -> Mapping[str, str]:
        """What the server holds a transaction to.

        A process that was stopped does not hold locks for ever. And a table that was tiny when its plan was made is
        not read from end to end for as long as nobody has analysed it: there is an index for whatever we ask, also for
        the server's own checks of foreign keys.
        """
        milliseconds = str(int(self.statement_timeout * 1000))
        limits = {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
        return {**limits, "enable_seqscan": "off", "jit": "off"}

    @property
    def session_limits(self) -> Mapping[str, str]:
        """Those of the limits that are set for a session, once: none where a pooler lends sessions."""
        return {} if self.transaction_pooling else self.limits

    @property
    def begin(self) -> str:
        """What begins a transaction, in one round trip."""
        if not self.transaction_pooling:
            return _BEGIN
        return "; ".join((_BEGIN, *(f"SET LOCAL {name} = {value}" for name, value in self.limits.items())))

    def connect_arguments(self, **session: str) -> dict[str, ConnectArgument]:
        """What ``asyncpg.connect`` takes; ``session``: settings of the server for this session alone."""
        name = {"application_name": f"llama-conversations {self.node}"}
        return {
            "dsn": self.dsn,
            "timeout": self.connect_timeout,
            "command_timeout": self.statement_timeout + _GRACE_SECONDS,
            "statement_cache_size": 0 if self.transaction_pooling else PREPARED_STATEMENTS,
            "max_cached_statement_lifetime": 0,
            "server_settings": {**name, **self.session_limits, **session},
        }


async def connect(settings: PostgresqlSettings) -> Connection:
    """A connection of its own. Errors: ``DRIVER_ERRORS``."""
    connection: Connection = await asyncpg.connect(**settings.connect_arguments())
    return connection


async def _listening(settings: PostgresqlSettings) -> ListeningConnection:
    """A connection for news, which waits for no disk."""
    arguments = settings.connect_arguments(synchronous_commit="off")
    connection: ListeningConnection = await asyncpg.connect(**arguments)
    return connection


async def _leave_as_it_is(_connection: Connection) -> None:
    """Units leave nothing in a session, so a connection that goes back needs no round trip to be reset."""


class PostgresqlDatabase:
    """A PostgreSQL database; implements ``storage.database.Database``."""

    def __init__(self, pool: Pool, settings: PostgresqlSettings) -> None:
        self._pool, self._settings = pool, settings
        # A pooler gives each transaction another connection: none would hear what it listens for.
        self._listener = None if settings.transaction_pooling else PostgresqlNews(lambda: _listening(settings))
        self._news = self._listener or LocalNews()
        self._reachability = Reachability(settings.location)
        # The pool itself gives what comes back to whoever asks next, and who waited for it waits from the beginning.
        self._turns = asyncio.Semaphore(settings.pool_size)
        self._statements = PositionalStatements(DIALECT)
        self._joint: dict[JointWork[object, object], JointWrites[object, object]] = {}
        self._units: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def news(self) -> LocalNews:
        """Among all processes, unless a pooler stands between."""
        return self._news

    @property
    def node(self) -> str:
        """The name under which this process holds leases."""
        return self._settings.node

    def dead_nodes(self, nodes: Collection[str]) -> Collection[str]:  # noqa: ARG002
        """None: whether a process on another machine has died is told by its leases alone."""
        return ()

    async def read(self, unit: Unit[T]) -> T:
        """Run a unit that only reads."""
        return await self._submit(self._read(unit))

    async def write(self, unit: Unit[T], *, durable: bool = True) -> T:  # noqa: ARG002  (all is as durable as it says)
        """Run a unit that writes; as durable as the server's ``synchronous_commit`` when this returns."""
        return await self._submit(self._in_transaction(unit))

    async def write_jointly(self, work: JointWork[A, T], request: A, *, durable: bool = True) -> T:  # noqa: ARG002
        """Do what is asked for, together with what others ask for while such a transaction runs."""
        if self._closed:
            raise ShuttingDown
        key = cast("JointWork[object, object]", work)
        joint = self._joint.get(key)
        if joint is None:
            joint = self._joint[key] = JointWrites(key, self._write_to_the_end)
        return cast("T", await joint.ask(request))

    async def _write_to_the_end(self, unit: Unit[T]) -> T:
        """As ``write``, also for what was asked for before the database was closed."""
        return await self._in_own_task(self._in_transaction(unit))

    async def _submit(self, work: Coroutine[None, None, T]) -> T:
        """Do the work, unless the database is closed (``ShuttingDown``)."""
        if self._closed:
            work.close()
            raise ShuttingDown
        return await self._in_own_task(work)

    async def _in_own_task(self, work: Coroutine[None, None, T]) -> T:
        """Wait for a task of its own: if the caller is cancelled, the work is done all the same."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_answer(future, work))
        self._units.add(task)
        task.add_done_callback(self._units.discard)
        return await future

    async def _read(self, unit: Unit[T]) -> T:
        if self._settings.transaction_pooling:
            return await self._in_transaction(unit)
        return await _drive(unit, self._read_step)

    async def _read_step(self, step: Step) -> Sequence[Row]:
        connection, rows = await self._on_connection(lambda connection: self._run(connection, step))
        await self._give_back(connection)
        return rows

    async def _in_transaction(self, unit: Unit[T]) -> T:
        connection, _ = await self._on_connection(lambda connection: connection.execute(self._settings.begin))
        try:
            result = await _drive(unit, lambda step: self._run(connection, step))
            await _commit(connection)
            return result
        except BaseException:
            await _roll_back(connection)
            raise
        finally:
            await self._give_back(connection)

    async def _run(self, connection: Connection, step: Step) -> Sequence[Row]:
        compiled = self._statements.compiled(step.statement)
        if isinstance(step, Run):
            rows: Sequence[Row] = await connection.fetch(compiled.sql, *compiled.values(step.parameters))
            return rows
        values = [compiled.values(each) for each in step.parameters]
        if compiled.insert is None:
            await connection.executemany(compiled.sql, values)
        elif values:
            await connection.fetch(_insert_of_arrays(compiled.insert), *zip(*values, strict=True))
        return ()

    async def _on_connection(self, first: Callable[[Connection], Awaitable[T]]) -> tuple[Connection, T]:
        """A connection, and what came of what was done first on it: anything that may be done again.

        Connections that broke while they lay in the pool are left out.
        """
        for _ in range(self._settings.pool_size + 1):
            connection = await self._acquire()
            try:
                result = await first(connection)
            except BaseException as error:
                await _roll_back(connection)
                await self._give_back(connection)
                if not isinstance(error, DRIVER_ERRORS):
                    raise
                if not is_lost(error):
                    raise failure(error) from error
            else:
                self._reachability.found()
                return connection, result
        raise self._reachability.lost("its connections break")

    async def _give_back(self, connection: Connection) -> None:
        try:
            with suppress(*DRIVER_ERRORS):  # it broke, and the pool drops it: what it did is known already
                await self._pool.release(connection)
        finally:
            self._turns.release()

    async def _acquire(self) -> Connection:
        """A connection, in the order in which they are asked for."""
        seconds = self._settings.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
            try:
                return await self._pool.acquire(timeout=seconds)
            except BaseException:
                self._turns.release()
                raise
        except TimeoutError as error:
            raise unavailable(f"no connection was free or could be made within {seconds:g} s") from error
        except DRIVER_ERRORS as error:
            raise self._reachability.lost(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Finish what runs, then close the connections."""
        self._closed = True
        for joint in self._joint.values():
            await joint.finish()
        while self._units:
            await asyncio.wait(self._units)
        if self._listener is not None:
            await self._listener.close()
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._pool.close()
        except (TimeoutError, *DRIVER_ERRORS):
            self._pool.terminate()


async def _answer(future: asyncio.Future[T], work: Coroutine[None, None, T]) -> None:
    try:
        result = await work
    except asyncio.CancelledError:
        future.cancel()
        raise
    except Exception as error:  # noqa: BLE001  (handed to whoever waits)
        if not future.done():  # whoever waited was cancelled
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)


async def _drive(unit: Unit[T], run: Callable[[Step], Awaitable[Sequence[Row]]]) -> T:
    """Run a unit to its end: each statement that it yields, until it returns or raises."""
    try:
        step = next(unit)
        while True:
            step = unit.send(await run(step))
    except StopIteration as done:
        result: T = done.value
        return result
    except DRIVER_ERRORS as error:
        raise failure(error) from error
    finally:
        unit.close()


def _insert_of_arrays(insert: RowInsert) -> str:
    """An INSERT that takes an array for each column. Row by row, a batch of 20 takes twice the database's CPU time."""
    arrays = (value.removesuffix(' COLLATE "C"') + "[]" for value in insert.values)
    return f"{insert.head} SELECT * FROM unnest({', '.join(arrays)}){insert.tail}"  # noqa: S608  (of a statement's own pieces)


async def _roll_back(connection: Connection) -> None:
    """Undo what is undecided, if anything is."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except DRIVER_ERRORS:  # then the server rolls back, when it finds the connection gone
        with suppress(*DRIVER_ERRORS):  # it may be out of our hands already
            connection.terminate()


async def _commit(connection: Connection) -> None:
    try:
        done = await connection.execute("COMMIT")
    except DRIVER_ERRORS as error:
        raise commit_failure(error) from error
    if done != "COMMIT":
        raise unavailable("the transaction was rolled back")


async def open_database(settings: PostgresqlSettings) -> PostgresqlDatabase:
    """The database behind a pool; whoever opens it closes it. Errors: ``DRIVER_ERRORS``."""
    pool: Pool = await asyncpg.create_pool(
        **settings.connect_arguments(), min_size=1, max_size=settings.pool_size, reset=_leave_as_it_is
    )
    return PostgresqlDatabase(pool, settings)
