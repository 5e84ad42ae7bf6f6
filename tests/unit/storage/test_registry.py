"""The registry, and whether the database answers."""

from __future__ import annotations

import sqlite3

import asyncpg
import pytest

from llama_conversations.errors import ShuttingDown
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import ResourceRecord
from unit.storage.support import EVERY_DATABASE, opened

pytestmark = EVERY_DATABASE


def model(provider_id: str, name: str, kind: str = "model") -> ResourceRecord:
    return ResourceRecord(kind, name, provider_id, f'{{"id":"{name}"}}')


async def test_what_a_provider_has_is_replaced_as_a_whole_and_the_others_stay(storage: Storage) -> None:
    await storage.registry.replace("model", "b", [model("b", "two"), model("b", "one")])
    await storage.registry.replace("model", "a", [model("a", "one")])
    await storage.registry.replace("shield", "b", [model("b", "one", "shield")])
    await storage.registry.replace("model", "b", [model("b", "three")])
    assert await storage.registry.load("model") == [model("a", "one"), model("b", "three")]
    await storage.registry.replace("model", "b", [])
    assert await storage.registry.load("model") == [model("a", "one")]
    assert await storage.registry.load("shield") == [model("b", "one", "shield")]
    assert await storage.registry.load("nothing") == []


async def test_a_list_that_names_a_resource_twice_replaces_nothing(storage: Storage) -> None:
    await storage.registry.replace("model", "a", [model("a", "kept")])
    with pytest.raises((sqlite3.IntegrityError, asyncpg.UniqueViolationError)):
        await storage.registry.replace("model", "a", [model("a", "x"), model("a", "x")])
    assert await storage.registry.load("model") == [model("a", "kept")]


async def test_the_database_answers_until_it_is_closed(path: object) -> None:
    async with opened(path) as storage:  # type: ignore[arg-type]
        await storage.health.ping()
    with pytest.raises(ShuttingDown):
        await storage.health.ping()
