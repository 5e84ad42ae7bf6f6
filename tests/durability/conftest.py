"""What these tests share: a model server, and servers that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.forked import ForkedServer
from harness.server import StackServer, scripted_config
from scripted_model import ScriptedModel


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    """The model server behind all servers."""
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def sqlite_server(model: ScriptedModel, tmp_path: Path) -> Iterator[Callable[..., StackServer]]:
    """Makes a server on the file ``state.db`` of the test's folder; the arguments are sections of its run.yaml."""
    servers: list[StackServer] = []

    def make(**sections: object) -> StackServer:
        servers.append(ForkedServer(tmp_path, scripted_config(tmp_path, model.base_url, **sections)))
        return servers[-1]

    yield make
    for server in servers:
        server.close()
