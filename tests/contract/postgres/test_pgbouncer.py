"""Servers behind pgbouncer in transaction mode: what is kept in no session, and what is told to who forgot to say so.

``workers/`` runs behind it, too, and with ``--database pgbouncer`` everything does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import asyncpg
import httpx2
import pytest

from harness.answers import ok, refused
from harness.background import begin_stream, follow, followed
from harness.conversations import add, create, items_of, texts_of, user
from harness.pgbouncer import SERVER_CONNECTIONS, Pgbouncer, keeps_prepared_statements, program
from harness.postgres import PASSWORD, Cluster, in_its_own_loop
from harness.server import StackServer, scripted_config
from harness.turns import stream, text_of, turn
from llama_conversations.storage.migrations import HEAD_REVISION
from scripted_model import ScriptedModel

pytestmark = [
    pytest.mark.databases("pgbouncer"),
    pytest.mark.skipif(program() is None, reason="pgbouncer is not installed"),
]

SERVERS = 3
MODES = ["transaction", "session"]
PATIENCE = {"statement_timeout_seconds": 3}
PREPARED = [{"max_prepared_statements": "0"}, {"max_prepared_statements": "100"}]

LEFT_IN_A_SESSION = """
SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'),
    (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')
"""


@pytest.fixture(scope="module", params=PREPARED if keeps_prepared_statements() else [{}], ids=str)
def pooler(request: pytest.FixtureRequest, postgres: Cluster) -> Iterator[Pgbouncer]:
    pooler = Pgbouncer(postgres, pool_mode="transaction", **request.param)
    try:
        yield pooler.start()
    finally:
        pooler.close()


@pytest.fixture(scope="module")
def name(pooler: Pgbouncer, postgres: Cluster) -> str:
    """A database in which nothing is, until servers come."""
    return postgres.empty_database()


@pytest.fixture(scope="module")
def servers(
    pooler: Pgbouncer, name: str, postgres: Cluster, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[StackServer]]:
    """Servers that have been started at once on an empty database."""
    backend = {**pooler.before(postgres.backend(name)), **PATIENCE}
    made = []
    for _ in range(SERVERS):
        place = tmp_path_factory.mktemp("pooled")
        config = scripted_config(place, model.base_url, storage={"backends": {"default": backend}})
        made.append(StackServer(place, config))
    try:
        with ThreadPoolExecutor(SERVERS) as threads:
            list(threads.map(StackServer.start, made))
        yield made
        assert [server.stop() for server in made] == [0] * SERVERS
    finally:
        for server in made:
            server.close()
    assert not [server.log for server in made if "Traceback" in server.log]


@pytest.fixture
def each(servers: Sequence[StackServer]) -> Iterator[Sequence[httpx2.Client]]:
    """A client of each."""
    with ExitStack() as opened:
        yield [opened.enter_context(server.http()) for server in servers]


def on_all_connections(pooler: Pgbouncer, name: str, sql: str) -> list[tuple[object, ...]]:
    """The row that each of the pooler's connections to the server tells; it has so many, while nobody else comes."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=pooler.port, user="owner", password=PASSWORD, database=name, statement_cache_size=0
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def run() -> list[tuple[object, ...]]:
        async with AsyncExitStack() as stack:
            each = [await stack.enter_async_context(opened()) for _ in range(SERVER_CONNECTIONS)]
            for connection in each:  # none is lent twice before all transactions end
                await stack.enter_async_context(connection.transaction())
            return [tuple(await connection.fetchrow(sql)) for connection in each]

    return in_its_own_loop(run())


def test_the_schema_is_made_once_and_all_serve_one_state(
    each: Sequence[httpx2.Client], name: str, postgres: Cluster
) -> None:
    assert postgres.execute("SELECT version_num FROM alembic_version", name) == [(HEAD_REVISION,)]
    first, second, third = each
    conversation_id = create(first, [user("Before")])
    assert text_of(turn(second, "echo", "Hello", conversation=conversation_id)) == "seen=2 last=Hello"
    assert text_of(stream(third, "echo", "Next", conversation=conversation_id).response) == "seen=4 last=Next"
    said = ["Before", "Hello", "seen=2 last=Hello", "Next", "seen=4 last=Next"]
    assert texts_of(items_of(first, conversation_id)) == said
    assert ok(second.delete(f"/conversations/{conversation_id}"))["deleted"]
    assert third.get(f"/conversations/{conversation_id}").status_code == 404


def test_what_runs_in_the_background_is_followed_and_cancelled_though_nobody_tells_of_it(
    each: Sequence[httpx2.Client], model: ScriptedModel, tag: str
) -> None:
    followed_one = begin_stream(each[0], "slow", f"gate={tag} tag={tag}")
    doomed = begin_stream(each[0], "hang-mid", f"tag={tag}-doomed gate={tag}-doomed")
    for gate in (tag, f"{tag}-doomed"):
        model.wait_until_reached(gate)
    with ThreadPoolExecutor(SERVERS) as threads:
        live = [threads.submit(follow, http, followed_one) for http in each[1:]]
        model.open_gate(tag)
        whole = list(followed(each[0], followed_one).events)
        assert [one.result() for one in live] == [whole] * len(live)
    for http in each:
        assert ok(http.post(f"/responses/{doomed}/cancel"))["status"] == "cancelled"
    [asked] = model.requests(tag=f"{tag}-doomed", count=1, ended=True)
    assert asked.outcome == "disconnected"


def test_many_who_append_at_once_wait_for_each_other_and_for_a_connection(servers: Sequence[StackServer]) -> None:
    clients, batches = 30, 3

    async def write(conversation_id: str) -> None:
        limits = httpx2.Limits(max_connections=None)
        async with AsyncExitStack() as stack:
            each = [
                await stack.enter_async_context(httpx2.AsyncClient(base_url=server.base_url, timeout=60, limits=limits))
                for server in servers
            ]

            async def talk(number: int) -> None:
                for batch in range(batches):
                    items = [user(f"{number}.{batch}.{part}") for part in range(2)]
                    url = f"/conversations/{conversation_id}/items"
                    ok(await each[number % SERVERS].post(url, json={"items": items}))

            await asyncio.gather(*map(talk, range(clients)))

    with servers[0].http() as http:
        conversation_id = create(http)
        in_its_own_loop(write(conversation_id))
        said = texts_of(items_of(http, conversation_id))
    assert len(said) == clients * batches * 2
    assert [first.rpartition(".")[0] for first in said[::2]] == [second.rpartition(".")[0] for second in said[1::2]]
    for number in range(clients):
        mine = [text for text in said if text.startswith(f"{number}.")]
        assert mine == [f"{number}.{batch}.{part}" for batch in range(batches) for part in range(2)]


def test_a_statement_that_takes_too_long_is_given_up_and_the_connection_is_nobodys_again(
    servers: Sequence[StackServer], pooler: Pgbouncer, name: str, postgres: Cluster
) -> None:
    async def refused_meanwhile(http: httpx2.Client, conversation_id: str) -> None:
        holder = await asyncpg.connect(
            host="127.0.0.1", port=postgres.port, user="owner", password=PASSWORD, database=name
        )
        try:
            async with holder.transaction():
                await holder.execute("LOCK TABLE conversation_items IN ACCESS EXCLUSIVE MODE")
                url = f"/conversations/{conversation_id}/items"
                answer = await asyncio.to_thread(http.post, url, json={"items": [user("lost")]})
                refused(answer, 503, "server_error", None, "server_error")
        finally:
            await holder.close()

    with servers[0].http() as http:
        conversation_id = create(http)
        in_its_own_loop(refused_meanwhile(http, conversation_id))
        add(http, conversation_id, [user("kept")])
        assert texts_of(items_of(http, conversation_id)) == ["kept"]
    assert on_all_connections(pooler, name, LEFT_IN_A_SESSION) == [("0", "0", 0, 0, 0)] * SERVER_CONNECTIONS


@pytest.mark.parametrize("mode", MODES)
def test_who_forgot_to_say_so_is_told(postgres: Cluster, upgrade: Callable[..., str], mode: str) -> None:
    pooler = Pgbouncer(postgres, pool_mode=mode)
    try:
        backend = pooler.start().before(postgres.backend("postgres"))
        said = upgrade({**backend, "transaction_pooling": False})
        assert "cannot be opened: unsupported startup parameter: " in said
        assert said.endswith("behind a pooler it takes transaction_pooling: true")
    finally:
        pooler.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_pooler_that_drops_the_limits_of_a_session_is_told_from_a_server(
    postgres: Cluster, upgrade: Callable[..., str], mode: str
) -> None:
    dropped = "statement_timeout,idle_in_transaction_session_timeout,enable_seqscan,jit"
    pooler = Pgbouncer(postgres, pool_mode=mode, ignore_startup_parameters=dropped)
    try:
        backend = pooler.start().before(postgres.backend(postgres.empty_database()))
        said = upgrade({**backend, "transaction_pooling": False})
        assert "cannot be opened: its sessions do not keep statement_timeout" in said
        assert said.endswith("behind a pooler it takes transaction_pooling: true")
        assert upgrade(backend) == ""
    finally:
        pooler.close()
