from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.postgres import Cluster
from harness.sqlite import make_database
from llama_conversations.storage.database import Database
from llama_conversations.storage.open import Storage
from unit.storage.support import opened, opened_database


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests run on the databases that they are marked with; any others are about SQLite, unless they say so."""
    marker = metafunc.definition.get_closest_marker("databases")
    if marker is not None and "path" in metafunc.fixturenames:
        metafunc.parametrize("path", marker.args, indirect=True)


@pytest.fixture
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The path of a database, as ``support`` has it; the schema is in it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return make_database(tmp_path / "state.db")
    cluster: Cluster = request.getfixturevalue("postgres")
    settings = tmp_path / "postgres.json"
    settings.write_text(json.dumps(cluster.backend(cluster.database(tmp_path))))
    return settings


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    async with opened(path) as storage:
        yield storage


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with opened_database(path) as database:
        yield database
