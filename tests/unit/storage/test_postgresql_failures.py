"""A PostgreSQL that cannot serve, or breaks: what is said is true, and service goes on when it is back."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from harness.postgres import PASSWORD, Cluster
from llama_conversations.errors import (
    ConversationNotFound,
    OutcomeUnknown,
    ShuttingDown,
    StorageUnavailable,
    UnstorableText,
)
from llama_conversations.storage.dialects import postgresql
from llama_conversations.storage.dialects.postgresql import Connection
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import TurnClaim
from llama_conversations.storage.unit_of_work import Row, Run, Statement, Unit
from unit.storage.support import (
    ALICE,
    claim_of,
    commit_of,
    conversation,
    item,
    opened,
    opened_database,
    response,
    rows,
    run,
    texts,
)

pytestmark = pytest.mark.databases("postgres")

SLEEP = Statement(text("SELECT 1 FROM pg_sleep(:seconds)"))
KILL_ME = Statement(text("SELECT pg_terminate_backend(pg_backend_pid())"))
KILL_OTHERS = Statement(
    text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
)
ADD = Statement(text("INSERT INTO resources VALUES ('kind', 'provider', :name, '{}')"))
NAMES = "SELECT identifier FROM resources ORDER BY 1"


def add_and(name: str, statement: Statement, **parameters: float) -> Unit[Sequence[Row]]:
    yield Run(ADD, {"name": name})
    return (yield Run(statement, parameters))


class Cutter:
    """Stands between a client and the server, and cuts the connection when the client commits."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []
        self.cuts, self.passes_on = False, False
        self.refuses = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.cuts and self.refuses:
            self.refuses -= 1
            writer.transport.abort()
            return
        to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._tasks += [
            asyncio.create_task(self._copy(reader, to_server[1], writer)),
            asyncio.create_task(self._copy(to_server[0], writer, to_server[1])),
        ]

    async def _copy(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                cut = self.cuts and b"COMMIT\0" in data
                if not cut or self.passes_on:
                    to.write(data)
                    await to.drain()
                if cut:
                    self.cuts = False
                    back.transport.abort()
                    break
        to.close()


async def test_a_statement_that_takes_too_long_is_given_up_with_all_of_its_unit(path: Path) -> None:
    async with opened_database(path, statement_timeout_seconds=1) as database:
        with pytest.raises(StorageUnavailable, match="Nothing was stored"):
            await database.write(add_and("a", SLEEP, seconds=60))
        await database.write(run(ADD, name="b"))
    assert rows(path, NAMES) == [("b",)]


async def test_a_connection_that_breaks_before_the_commit_has_stored_nothing(path: Path) -> None:
    async with opened_database(path, pool_size=1) as database:
        with pytest.raises(StorageUnavailable, match="Nothing was stored"):
            await database.write(add_and("a", KILL_ME))
        await database.write(run(ADD, name="b"))
    assert rows(path, NAMES) == [("b",)]


@pytest.mark.parametrize("passes_on", [False, True], ids=["not committed", "committed"])
async def test_a_connection_that_breaks_during_the_commit_leaves_it_open_and_says_so(
    path: Path, postgres: Cluster, passes_on: bool
) -> None:
    cutter = Cutter(postgres.port)
    async with cutter.listening() as port, opened_database(path, port=port, pool_size=1) as database:
        cutter.cuts, cutter.passes_on = True, passes_on
        with pytest.raises(OutcomeUnknown, match="may have been stored or not"):
            await database.write(run(ADD, name="a"))
        await database.write(run(ADD, name="b"))
    while [name for (name,) in rows(path, NAMES)] != (["a", "b"] if passes_on else ["b"]):
        pass  # the server may not have read the commit yet


@pytest.mark.parametrize("passes_on", [False, True], ids=["not committed", "committed"])
async def test_a_turn_whose_commit_nobody_answered_is_committed_once(
    path: Path, postgres: Cluster, passes_on: bool
) -> None:
    cutter = Cutter(postgres.port)
    async with cutter.listening() as port, opened(path, port=port) as storage:
        made = conversation()
        await storage.conversations.create(ALICE, made, [])
        turn = response(conversation_id=made.id)
        await storage.responses.claim(ALICE, claim_of(turn))
        cutter.cuts, cutter.passes_on = True, passes_on
        await storage.responses.commit(ALICE, commit_of(turn, item("a")))
        assert not cutter.cuts
        assert await texts(storage, made.id) == ["a"]
        assert (await storage.responses.get(ALICE, turn.id)).status == "completed"


async def test_a_turn_whose_commit_nobody_answered_is_committed_once_the_database_is_back(
    path: Path, postgres: Cluster
) -> None:
    cutter = Cutter(postgres.port)
    async with cutter.listening() as port, opened(path, port=port, pool_size=1) as storage:
        made = conversation()
        await storage.conversations.create(ALICE, made, [])
        turn = response(conversation_id=made.id)
        await storage.responses.claim(ALICE, claim_of(turn))
        cutter.cuts, cutter.passes_on, cutter.refuses = True, True, 10
        await storage.responses.commit(ALICE, commit_of(turn, item("a")))
        assert cutter.refuses == 0
        assert await texts(storage, made.id) == ["a"]
        assert (await storage.responses.get(ALICE, turn.id)).status == "completed"


async def test_a_turn_whose_commit_nobody_answered_is_told_to_be_open_if_the_database_stays_away(
    path: Path, postgres: Cluster
) -> None:
    cutter = Cutter(postgres.port)
    async with cutter.listening() as port, opened(path, 0.5, port=port, pool_size=1) as storage:
        turn = response()
        await storage.responses.claim(ALICE, claim_of(turn))
        cutter.cuts, cutter.passes_on, cutter.refuses = True, True, 1 << 60
        with pytest.raises(OutcomeUnknown):
            await storage.responses.commit(ALICE, commit_of(turn))
        cutter.refuses = 0
        assert (await storage.responses.get(ALICE, turn.id)).status == "completed"


async def test_a_turn_that_is_not_kept_and_whose_commit_nobody_answered_is_told_to_be_open(
    path: Path, postgres: Cluster
) -> None:
    cutter = Cutter(postgres.port)
    async with cutter.listening() as port, opened(path, port=port) as storage:
        made = conversation()
        await storage.conversations.create(ALICE, made, [])
        await storage.responses.claim(ALICE, TurnClaim("resp_x", made.id, None))
        cutter.cuts, cutter.passes_on = True, True
        with pytest.raises(OutcomeUnknown):
            await storage.responses.commit(
                ALICE, commit_of(response(id="resp_x", conversation_id=made.id), stored=False)
            )


async def test_behind_a_pooler_nothing_is_expected_of_a_session(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def discard_all(connection: Connection) -> None:
        await connection.execute("DISCARD ALL")

    monkeypatch.setattr(postgresql, "_leave_as_it_is", discard_all)
    async with opened(path, transaction_pooling=True, pool_size=2) as storage:
        made = conversation()
        await storage.conversations.create(ALICE, made, [item("a")])
        for _ in range(3):
            await storage.conversations.append(ALICE, made.id, [item()])
            await storage.conversations.get(ALICE, made.id)
        assert len(await texts(storage, made.id)) == 4
    async with opened_database(path, transaction_pooling=True, statement_timeout_seconds=1) as database:
        with pytest.raises(StorageUnavailable):
            await database.read(run(SLEEP, seconds=60))


async def test_connections_that_broke_while_nobody_used_them_are_noticed_by_nobody(path: Path) -> None:
    async with opened(path, pool_size=4) as storage:
        await asyncio.gather(*(storage.health.ping() for _ in range(20)))
        await asyncio.to_thread(rows, path, KILL_OTHERS.clause.text)
        made = conversation()
        await storage.conversations.create(ALICE, made, [])
        assert (await storage.conversations.get(ALICE, made.id)).id == made.id


async def test_a_pool_that_is_used_up_is_told_in_time(path: Path) -> None:
    async with opened_database(path, pool_size=1) as database:
        database._settings = replace(database._settings, connect_timeout=0.2)
        sleeping = asyncio.ensure_future(database.read(run(SLEEP, seconds=2)))
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable):
            await database.read(run(SLEEP, seconds=0))
        await sleeping


async def test_a_caller_who_is_cancelled_does_not_undo_his_unit(path: Path) -> None:
    async with opened_database(path) as database:
        waiting = asyncio.ensure_future(database.write(add_and("a", SLEEP, seconds=0.1)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert rows(path, NAMES) == [("a",)]  # closing waits for what runs
    with pytest.raises(ShuttingDown):
        await database.write(run(ADD, name="b"))


async def test_what_a_unit_raises_undoes_it(path: Path) -> None:
    def refused() -> Unit[None]:
        yield Run(ADD, {"name": "a"})
        raise ConversationNotFound("x")

    async with opened_database(path, pool_size=1) as database:
        with pytest.raises(ConversationNotFound):
            await database.write(refused())
        await database.write(run(ADD, name="b"))
    assert rows(path, NAMES) == [("b",)]


async def test_a_null_character_is_the_callers_fault_and_a_wrong_statement_is_ours(path: Path) -> None:
    async with opened_database(path) as database:
        with pytest.raises(UnstorableText):
            await database.write(run(ADD, name="a\0b"))
        with pytest.raises(asyncpg.UndefinedTableError):
            await database.read(run(Statement(text("SELECT 1 FROM nowhere"))))
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.write(add_and("a", Statement(text("INSERT INTO resources SELECT * FROM resources"))))
    assert rows(path, NAMES) == []


async def test_a_server_that_stops_is_unavailable_and_serves_again_when_it_is_back(tmp_path: Path) -> None:
    cluster = Cluster().start()
    try:
        path = tmp_path / "own.json"
        path.write_text(json.dumps({**cluster.backend(cluster.empty_database()), "connect_timeout_seconds": 2}))
        async with opened(path) as storage:
            made = conversation()
            await storage.conversations.create(ALICE, made, [])
            await asyncio.to_thread(cluster.stop)
            for work in (storage.conversations.get(ALICE, made.id), storage.conversations.delete(ALICE, made.id)):
                with pytest.raises(StorageUnavailable, match="Nothing was stored"):
                    await work
            await asyncio.to_thread(cluster.start)
            await works_again(storage, made.id)
    finally:
        cluster.close()


async def works_again(storage: Storage, conversation_id: str) -> None:
    assert (await storage.conversations.get(ALICE, conversation_id)).id == conversation_id
    await storage.conversations.delete(ALICE, conversation_id)


@pytest.mark.parametrize(
    "wrong",
    [{"port": 1}, {"password": "wrong"}, {"db": "nowhere"}, {"sslmode": "require"}, {"ssl_root_cert": "/nowhere"}],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_server_that_cannot_be_reached_is_named_without_secrets(path: Path, wrong: dict[str, object]) -> None:
    if "ssl_root_cert" in wrong:
        wrong = {**wrong, "sslmode": "verify-full"}
    with pytest.raises(StorageUnavailable, match=r"The database postgresql://127\.0\.0\.1:") as found:
        async with opened(path, **wrong):
            pass
    assert PASSWORD not in str(found.value)


async def test_a_server_that_does_not_answer_is_given_up_and_named(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StorageUnavailable, match=r"cannot be opened: no answer within 0\.2 s"):
            async with opened(path, port=port, connect_timeout_seconds=0.2):
                pass
