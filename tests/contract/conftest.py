"""What the contract tests share: one real server per worker process, and clients that talk to it over HTTP.

Everything that is tested here runs once for every database of ``DATABASES``, unless it never gets as far as a database.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

from harness.forked import ForkedServer
from harness.pgbouncer import Pgbouncer
from harness.postgres import Cluster, leases_run_out
from harness.server import SERVER, UPSTREAM_KEY, StackServer, scripted_config
from scripted_model import ScriptedModel

pytest.register_assert_rewrite(
    *(f"harness.{name}" for name in ("answers", "connection", "conversations", "event_stream", "histories", "turns"))
)

Backend = Mapping[str, object]
"""A backend's settings, as they stand under ``storage.backends`` in a run.yaml."""


DATABASES = ("sqlite", "postgres")
"""What everything in this folder runs on, but for what ``ON_ONE_DATABASE`` names and ``databases`` marks."""

ON_ONE_DATABASE = (
    "catalog/",
    "context/",
    "conversations/test_bad_requests.py",
    "conversations/test_official_client.py",
    "responses/test_any_answer.py",
    "responses/test_failing_models.py",
    "responses/test_model_requests.py",
    "responses/test_official_client.py",
    "responses/test_refused_requests.py",
    "responses/test_stable_prefix.py",
    "responses/test_storage_growth.py",
    "responses/test_streams.py",
    "responses/test_tool_turns.py",
    "tools/",
    "upstream_responses/",
    "websocket/",
)
"""What is tested here happens between the client, the server and the model server: the database has no part in it.

With ``--all-databases`` it runs on all of them nevertheless.
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        metafunc.parametrize("database", _databases(metafunc), indirect=True, scope="session")


def _databases(metafunc: pytest.Metafunc) -> Sequence[str]:
    marker = metafunc.definition.get_closest_marker("databases")
    if asked := metafunc.config.getoption("--database"):
        is_about_another = marker is not None and marker.args == ("sqlite",) != (asked,)
        return () if is_about_another else (asked,)
    if marker is not None:
        return marker.args
    here = metafunc.definition.path.relative_to(Path(__file__).parent).as_posix()
    one = here.startswith(ON_ONE_DATABASE) and not metafunc.config.getoption("--all-databases")
    return DATABASES[:1] if one else DATABASES


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Callable[[Path], Backend]:
    """The kind of database that the server keeps everything in.

    From a directory to the settings of a database that is the same for the same directory.
    """
    if request.param == "sqlite":
        return lambda directory: {"type": "sql_sqlite", "path": str(directory / "state.db")}
    cluster: Cluster = request.getfixturevalue("postgres")
    if request.param == "pgbouncer":
        pooler: Pgbouncer = request.getfixturevalue("pgbouncer")
        return lambda directory: pooler.before(cluster.backend(cluster.database(directory)))
    return lambda directory: cluster.backend(cluster.database(directory))


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    """The model server behind all servers; the model's name and words of the text choose what it does."""
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def tag() -> str:
    """A word that marks a test's own requests in the model server's journal: ``tag=<word>`` in a user's text."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def nobody_url() -> Iterator[str]:
    """A base URL that refuses connections: its port is taken, and nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.fixture(scope="session")
def shared_sections(
    request: pytest.FixtureRequest, database: Callable[[Path], Backend]
) -> Callable[[Path], Mapping[str, object]]:
    """What a run.yaml of a server has that many tests share: its database, and its processes (``--processes``)."""
    processes = request.config.getoption("--processes")
    return lambda directory: {
        "storage": {"backends": {"default": database(directory)}},
        "server": {**SERVER, "workers": processes},
    }


@pytest.fixture(scope="session")
def server(
    shared_sections: Callable[[Path], Mapping[str, object]],
    model: ScriptedModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StackServer]:
    """The server that all tests of a worker share; whatever they send, no fault of its own may show in its log."""
    directory = tmp_path_factory.mktemp("server")
    server = ForkedServer(directory, scripted_config(directory, model.base_url, **shared_sections(directory))).start()
    try:
        yield server
        server.stop()
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log
    assert UPSTREAM_KEY not in server.log


class NewServer(Protocol):
    """Makes servers for one test."""

    def __call__(
        self, directory: Path | None = None, *, environ: Mapping[str, str] | None = None, **sections: object
    ) -> StackServer:
        """A server that is not started yet.

        Args:
            directory: Where its data lies; a new one unless given. Servers of one directory share one database.
            environ: Variables beside this process's own.
            sections: Top-level sections of its run.yaml, instead of the usual ones.
        """
        ...


@pytest.fixture
def new_server(
    request: pytest.FixtureRequest, database: Callable[[Path], Backend], model: ScriptedModel, tmp_path: Path
) -> Iterator[NewServer]:
    """For tests that stop, kill or configure a server. What they leave running is stopped."""
    servers: list[StackServer] = []

    def make(
        directory: Path | None = None, *, environ: Mapping[str, str] | None = None, **sections: object
    ) -> StackServer:
        place = directory or tmp_path / f"server{len(servers)}"
        place.mkdir(exist_ok=True, parents=True)
        backend = database(place)
        sections = {"storage": {"backends": {"default": backend}}, **sections}
        servers.append(ForkedServer(place, scripted_config(place, model.base_url, **sections), environ))
        servers[-1].after_kill = leases_run_out(request, backend)
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def http(server: StackServer) -> Iterator[httpx2.Client]:
    """Plain HTTP; paths are below ``/v1``."""
    with server.http() as http:
        yield http


@pytest.fixture(scope="session")
def client(server: StackServer) -> Iterator[OpenAI]:
    """The official client."""
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def strict_client(server: StackServer) -> Iterator[OpenAI]:
    """The official client, refusing every answer that does not fit its types."""
    with server.client(_strict_response_validation=True) as client:
        yield client


@pytest.fixture
async def async_client(server: StackServer) -> AsyncIterator[AsyncOpenAI]:
    """The official asynchronous client."""
    async with server.async_client() as client:
        yield client


@pytest.fixture
async def strict_async_client(server: StackServer) -> AsyncIterator[AsyncOpenAI]:
    """The official asynchronous client, refusing every answer that does not fit its types."""
    async with server.async_client(_strict_response_validation=True) as client:
        yield client
