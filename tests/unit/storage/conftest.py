from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.open import Storage
from unit.storage.support import opened, opened_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    async with opened(path) as storage:
        yield storage


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    async with opened_database(path) as database:
        yield database
