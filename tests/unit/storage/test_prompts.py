"""The prompt store: versions that follow each other, one of them the default."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llama_conversations.errors import PromptNotFound
from llama_conversations.ids import new_id
from llama_conversations.storage.open import Storage
from unit.storage.support import ALICE, EVERY_DATABASE, prompt, rows

pytestmark = EVERY_DATABASE

UNKNOWN = new_id("pmpt")


async def created(storage: Storage) -> str:
    record = prompt(new_id("pmpt"))
    await storage.prompts.create(ALICE, record)
    return record.id


async def test_a_prompt_is_kept_as_it_was_given(storage: Storage) -> None:
    record = prompt(new_id("pmpt"))
    await storage.prompts.create(ALICE, record)
    assert await storage.prompts.get(ALICE, record.id, None) == record
    assert await storage.prompts.get(ALICE, record.id, 1) == record
    assert await storage.prompts.versions(ALICE, record.id) == [record]


async def test_a_new_version_is_the_default_if_it_says_so(storage: Storage) -> None:
    prompt_id = await created(storage)
    assert await storage.prompts.add_version(ALICE, prompt(prompt_id, 2, is_default=False))
    assert (await storage.prompts.get(ALICE, prompt_id, None)).version == 1
    assert await storage.prompts.add_version(ALICE, prompt(prompt_id, 3))
    assert (await storage.prompts.get(ALICE, prompt_id, None)).version == 3
    versions = await storage.prompts.versions(ALICE, prompt_id)
    assert [(found.version, found.is_default) for found in versions] == [(1, False), (2, False), (3, True)]


@pytest.mark.parametrize("version", [1, 3, 0, -1])
async def test_a_version_that_does_not_follow_the_latest_is_not_stored(storage: Storage, version: int) -> None:
    prompt_id = await created(storage)
    assert not await storage.prompts.add_version(ALICE, prompt(prompt_id, version))
    assert len(await storage.prompts.versions(ALICE, prompt_id)) == 1


async def test_of_many_that_add_the_same_version_at_once_one_does(storage: Storage) -> None:
    prompt_id = await created(storage)
    added = await asyncio.gather(*(storage.prompts.add_version(ALICE, prompt(prompt_id, 2)) for _ in range(20)))
    assert sorted(added) == [False] * 19 + [True]
    assert len(await storage.prompts.versions(ALICE, prompt_id)) == 2


async def test_the_default_can_be_any_version_that_exists(storage: Storage) -> None:
    prompt_id = await created(storage)
    await storage.prompts.add_version(ALICE, prompt(prompt_id, 2))
    chosen = await storage.prompts.set_default(ALICE, prompt_id, 1)
    assert (chosen.version, chosen.is_default) == (1, True)
    with pytest.raises(PromptNotFound) as found:
        await storage.prompts.set_default(ALICE, prompt_id, 3)
    assert (found.value.prompt_id, found.value.version) == (prompt_id, 3)
    assert (await storage.prompts.get(ALICE, prompt_id, None)).version == 1


async def test_the_list_shows_the_default_of_each_newest_prompt_first(storage: Storage) -> None:
    first, second = await created(storage), await created(storage)
    await storage.prompts.add_version(ALICE, prompt(first, 2))
    assert [(found.id, found.version) for found in await storage.prompts.list(ALICE)] == [(second, 1), (first, 2)]


async def test_a_deleted_prompt_is_gone_with_its_versions(storage: Storage, path: Path) -> None:
    gone, kept = await created(storage), await created(storage)
    await storage.prompts.delete(ALICE, gone)
    assert rows(path, "SELECT prompt_id FROM prompt_versions") == [(kept,)]
    with pytest.raises(PromptNotFound):
        await storage.prompts.delete(ALICE, gone)


async def test_every_method_that_names_an_unknown_prompt_or_version_says_so(storage: Storage) -> None:
    prompt_id = await created(storage)
    for call in (
        storage.prompts.get(ALICE, UNKNOWN, None),
        storage.prompts.get(ALICE, prompt_id, 2),
        storage.prompts.get(ALICE, prompt_id, 2**80),
        storage.prompts.get(ALICE, prompt_id, -(2**80)),
        storage.prompts.set_default(ALICE, prompt_id, 2**80),
        storage.prompts.versions(ALICE, UNKNOWN),
        storage.prompts.add_version(ALICE, prompt(UNKNOWN, 2)),
        storage.prompts.set_default(ALICE, UNKNOWN, 1),
    ):
        with pytest.raises(PromptNotFound):
            await call
