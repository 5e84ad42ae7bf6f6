"""Somebody else's things and unknown things answer alike, in every method of every store."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from llama_conversations.access import AccessScope
from llama_conversations.errors import (
    ConversationNotFound,
    CursorNotFound,
    PreviousResponseNotFound,
    PromptNotFound,
    ResponseNotFound,
)
from llama_conversations.ids import new_id, partition_in
from llama_conversations.storage.open import Storage
from llama_conversations.storage.records import PageQuery
from llama_conversations.storage.stores import ConversationStore, PromptStore, ResponseStore
from unit.storage.support import (
    ALICE,
    EVERY_DATABASE,
    STRANGERS,
    claim_of,
    commit_of,
    conversation,
    item,
    opened,
    prompt,
    response,
    rows,
)

pytestmark = EVERY_DATABASE

TABLES = ("conversations", "conversation_items", "responses", "prompts", "prompt_versions")
PAGE = PageQuery(100, descending=True)


@dataclass(frozen=True)
class Things:
    """What ALICE has."""

    storage: Storage
    conversation: str
    item: str
    response: str
    running: str
    prompt: str


Call = Callable[[Things, AccessScope], Awaitable[object]]

REFUSED: dict[str, tuple[type[Exception], Call]] = {
    "ConversationStore.get": (ConversationNotFound, lambda t, s: t.storage.conversations.get(s, t.conversation)),
    "ConversationStore.update_metadata": (
        ConversationNotFound,
        lambda t, s: t.storage.conversations.update_metadata(s, t.conversation, '{"mine":"now"}'),
    ),
    "ConversationStore.delete": (ConversationNotFound, lambda t, s: t.storage.conversations.delete(s, t.conversation)),
    "ConversationStore.append": (
        ConversationNotFound,
        lambda t, s: t.storage.conversations.append(s, t.conversation, [item("intruder")]),
    ),
    "ConversationStore.list_items": (
        ConversationNotFound,
        lambda t, s: t.storage.conversations.list_items(s, t.conversation, PAGE),
    ),
    "ConversationStore.get_item": (
        ConversationNotFound,
        lambda t, s: t.storage.conversations.get_item(s, t.conversation, t.item),
    ),
    "ConversationStore.delete_item": (
        ConversationNotFound,
        lambda t, s: t.storage.conversations.delete_item(s, t.conversation, t.item),
    ),
    "ConversationStore.find_item within": (
        ConversationNotFound,
        lambda t, s: t.storage.conversations.find_item(s, t.item, t.conversation),
    ),
    "ConversationStore.list after": (
        CursorNotFound,
        lambda t, s: t.storage.conversations.list(s, PageQuery(5, descending=True, after=t.conversation), {}),
    ),
    "ConversationStore.list before": (
        CursorNotFound,
        lambda t, s: t.storage.conversations.list(s, PageQuery(5, descending=True, before=t.conversation), {}),
    ),
    "ResponseStore.claim": (
        ConversationNotFound,
        lambda t, s: t.storage.responses.claim(s, claim_of(response(conversation_id=t.conversation))),
    ),
    "ResponseStore.get": (ResponseNotFound, lambda t, s: t.storage.responses.get(s, t.response)),
    "ResponseStore.delete": (ResponseNotFound, lambda t, s: t.storage.responses.delete(s, t.response)),
    "ResponseStore.chain": (PreviousResponseNotFound, lambda t, s: t.storage.responses.chain(s, t.response)),
    "ResponseStore.list after": (
        CursorNotFound,
        lambda t, s: t.storage.responses.list(s, PageQuery(5, descending=True, after=t.response), None),
    ),
    "PromptStore.get": (PromptNotFound, lambda t, s: t.storage.prompts.get(s, t.prompt, None)),
    "PromptStore.get version": (PromptNotFound, lambda t, s: t.storage.prompts.get(s, t.prompt, 1)),
    "PromptStore.versions": (PromptNotFound, lambda t, s: t.storage.prompts.versions(s, t.prompt)),
    "PromptStore.add_version": (PromptNotFound, lambda t, s: t.storage.prompts.add_version(s, prompt(t.prompt, 2))),
    "PromptStore.set_default": (PromptNotFound, lambda t, s: t.storage.prompts.set_default(s, t.prompt, 1)),
    "PromptStore.delete": (PromptNotFound, lambda t, s: t.storage.prompts.delete(s, t.prompt)),
}


async def _items_since(things: Things, scope: AccessScope) -> object:
    return (await things.storage.conversations.history_since(scope, things.conversation, 9, None)).items


EMPTY: dict[str, Call] = {
    "ConversationStore.history": lambda t, s: t.storage.conversations.history(s, t.conversation, 100),
    "ConversationStore.history_since": _items_since,
    "ConversationStore.find_item": lambda t, s: t.storage.conversations.find_item(s, t.item, None),
    "ConversationStore.list": lambda t, s: _entries(t.storage.conversations.list(s, PAGE, {})),
    "ConversationStore.list filtered": lambda t, s: _entries(t.storage.conversations.list(s, PAGE, {"a": "1"})),
    "ResponseStore.chain_length": lambda t, s: t.storage.responses.chain_length(s, t.response),
    "ResponseStore.find_item": lambda t, s: t.storage.responses.find_item(s, t.item),
    "ResponseStore.list": lambda t, s: _entries(t.storage.responses.list(s, PAGE, None)),
    "ResponseStore.list of model": lambda t, s: _entries(t.storage.responses.list(s, PAGE, "gpt")),
    "ResponseStore.commit": lambda t, s: t.storage.responses.commit(
        s, commit_of(response(id=t.running, conversation_id=t.conversation), item("intruder"))
    ),
    "ResponseStore.unclaim": lambda t, s: t.storage.responses.unclaim(s, t.running, t.conversation),
    "PromptStore.list": lambda t, s: t.storage.prompts.list(s),
}

OWN_NAMES = {"ConversationStore.create", "PromptStore.create"}
"""They name nothing that exists already."""


async def _entries(listing: Awaitable[object]) -> object:
    return (await listing).entries  # type: ignore[attr-defined]


@pytest.fixture
async def things(path: Path) -> AsyncIterator[Things]:
    async with opened(path) as storage:
        record = conversation(metadata='{"a":"1"}')
        shared = new_id("msg", partition_in(record.id))
        await storage.conversations.create(ALICE, record, [item(shared)])
        ended = response(id=new_id("resp", partition_in(record.id)), input=f'[{{"id":"{shared}"}}]')
        await storage.responses.claim(ALICE, claim_of(ended))
        await storage.responses.commit(ALICE, commit_of(ended))
        running = response(conversation_id=record.id)
        await storage.responses.claim(ALICE, claim_of(running))
        kept = prompt(new_id("pmpt"))
        await storage.prompts.create(ALICE, kept)
        yield Things(storage, record.id, shared, ended.id, running.id, kept.id)


def everything(path: Path) -> list[object]:
    return [rows(path, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


@pytest.mark.parametrize("stranger", STRANGERS, ids=["other owner", "other tenant"])
@pytest.mark.parametrize("name", REFUSED)
async def test_a_stranger_is_told_that_there_is_no_such_thing_and_changes_nothing(
    things: Things, path: Path, name: str, stranger: AccessScope
) -> None:
    before = everything(path)
    error, call = REFUSED[name]
    with pytest.raises(error):
        await call(things, stranger)
    assert everything(path) == before


@pytest.mark.parametrize("stranger", STRANGERS, ids=["other owner", "other tenant"])
@pytest.mark.parametrize("name", EMPTY)
async def test_a_stranger_sees_nothing_and_changes_nothing(
    things: Things, path: Path, name: str, stranger: AccessScope
) -> None:
    before = everything(path)
    assert not await EMPTY[name](things, stranger)
    assert everything(path) == before


@pytest.mark.parametrize("name", [*REFUSED, *EMPTY])
async def test_the_owner_is_served(things: Things, name: str) -> None:
    if name in ("ResponseStore.claim", "PromptStore.add_version"):  # the running turn holds the lease
        await things.storage.responses.unclaim(ALICE, things.running, things.conversation)
    call = REFUSED[name][1] if name in REFUSED else EMPTY[name]
    await call(things, ALICE)


def test_no_method_that_takes_a_scope_is_left_out() -> None:
    scoped = {
        f"{store.__name__}.{name}"
        for store in (ConversationStore, ResponseStore, PromptStore)
        for name, method in inspect.getmembers(store, inspect.isfunction)
        if not name.startswith("_") and "scope" in inspect.signature(method).parameters
    }
    assert scoped - OWN_NAMES == {name.partition(" ")[0] for name in (*REFUSED, *EMPTY)}
