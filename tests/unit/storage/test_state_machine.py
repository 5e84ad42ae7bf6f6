"""Conversations, items and turns against a model in plain Python, in any order that Hypothesis thinks of."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from harness.sqlite import make_database
from llama_conversations.errors import (
    ConversationLocked,
    ConversationNotFound,
    DuplicateItem,
    ItemNotFound,
    ResponseNotFound,
    TurnLost,
)
from llama_conversations.storage.records import ItemRecord, PageQuery, ResponseRecord, TurnClaim
from unit.storage.support import ALICE, BOB, claim_of, commit_of, conversation, item, opened, response, texts

T = TypeVar("T")

CLIENT_IDS = [f"id{n}" for n in range(8)]

item_ids = st.lists(st.one_of(st.none(), st.sampled_from(CLIENT_IDS)), max_size=4)


@dataclass
class Conversation:
    """What a conversation should be."""

    items: list[str] = field(default_factory=list)
    metadata: str = "{}"
    leased_to: str | None = None
    deleted: bool = False


@dataclass
class Turn:
    """What a turn should be; ``status`` is that of its response, None where there is none."""

    record: ResponseRecord
    conversation: str | None
    stored: bool
    status: str | None
    running: bool = True
    lost: bool = False


class Store(RuleBasedStateMachine):
    conversations = Bundle("conversations")
    turns = Bundle("turns")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.path = make_database(Path(self.directory.name) / "state.db")
        self.opening = opened(self.path, synchronous="normal", readers=1)
        self.storage = self.run(self.opening.__aenter__())
        self.known: dict[str, Conversation] = {}
        self.turn_of: dict[str, Turn] = {}

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.opening.__aexit__(None, None, None))
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.directory.cleanup()

    @rule(target=conversations, ids=item_ids)
    def create(self, ids: list[str | None]) -> object:
        record, batch = conversation(), [item(item_id) for item_id in ids]
        creating = self.storage.conversations.create(ALICE, record, batch)
        if self._repeats(ids):
            with pytest.raises(DuplicateItem):
                self.run(creating)
            return multiple()
        self.run(creating)
        self.known[record.id] = Conversation([entry.id for entry in batch])
        return record.id

    @rule(conversation_id=conversations, ids=item_ids)
    def append(self, conversation_id: str, ids: list[str | None]) -> None:
        model, batch = self.known[conversation_id], [item(item_id) for item_id in ids]
        appending = self.storage.conversations.append(ALICE, conversation_id, batch)
        if self._repeats(ids) or (not model.deleted and self._held(model, batch)):
            with pytest.raises(DuplicateItem):
                self.run(appending)
        elif model.deleted:
            with pytest.raises(ConversationNotFound):
                self.run(appending)
        else:
            self.run(appending)
            model.items += [entry.id for entry in batch]

    @rule(conversation_id=conversations, item_id=st.sampled_from(CLIENT_IDS))
    def delete_item(self, conversation_id: str, item_id: str) -> None:
        model = self.known[conversation_id]
        deleting = self.storage.conversations.delete_item(ALICE, conversation_id, item_id)
        if model.deleted or item_id not in model.items:
            with pytest.raises(ConversationNotFound if model.deleted else ItemNotFound):
                self.run(deleting)
        else:
            assert self.run(deleting).id == conversation_id
            model.items.remove(item_id)

    @rule(conversation_id=conversations, value=st.sampled_from("abc"))
    def update_metadata(self, conversation_id: str, value: str) -> None:
        model, metadata = self.known[conversation_id], f'{{"k":"{value}"}}'
        updating = self.storage.conversations.update_metadata(ALICE, conversation_id, metadata)
        if model.deleted:
            with pytest.raises(ConversationNotFound):
                self.run(updating)
        else:
            assert self.run(updating).metadata == metadata
            model.metadata = metadata

    @rule(conversation_id=conversations)
    def delete_conversation(self, conversation_id: str) -> None:
        model = self.known[conversation_id]
        deleting = self.storage.conversations.delete(ALICE, conversation_id)
        if model.deleted:
            with pytest.raises(ConversationNotFound):
                self.run(deleting)
        else:
            self.run(deleting)
            model.deleted, model.items, model.leased_to = True, [], None

    @rule(conversation_id=conversations, limit=st.integers(1, 5), descending=st.booleans())
    def page_through(self, conversation_id: str, limit: int, descending: bool) -> None:
        model = self.known[conversation_id]
        if model.deleted:
            return
        found: list[str] = []
        more = True
        while more:
            query = PageQuery(limit, descending, after=found[-1] if found else None)
            page = self.run(self.storage.conversations.list_items(ALICE, conversation_id, query))
            found += [entry.id for entry in page.entries]
            more = page.has_more
        assert found == (model.items[::-1] if descending else model.items)

    @rule(conversation_id=conversations)
    def look_as_a_stranger(self, conversation_id: str) -> None:
        with pytest.raises(ConversationNotFound):
            self.run(self.storage.conversations.get(BOB, conversation_id))

    @rule(target=turns, conversation_id=conversations, stored=st.booleans())
    def claim(self, conversation_id: str, stored: bool) -> object:
        model, record = self.known[conversation_id], response(conversation_id=conversation_id)
        claim = TurnClaim(record.id, conversation_id, record if stored else None)
        claiming = self.storage.responses.claim(ALICE, claim)
        if model.deleted or model.leased_to is not None:
            with pytest.raises(ConversationNotFound if model.deleted else ConversationLocked):
                self.run(claiming)
            return multiple()
        mark = self.run(claiming)
        assert mark is not None
        history = self.run(self.storage.conversations.history(ALICE, conversation_id, mark.position))
        assert [entry.id for entry in history] == model.items
        model.leased_to = record.id
        self.turn_of[record.id] = Turn(record, conversation_id, stored, "in_progress" if stored else None)
        return record.id

    @rule(target=turns)
    def claim_alone(self) -> str:
        record = response()
        assert self.run(self.storage.responses.claim(ALICE, claim_of(record))) is None
        self.turn_of[record.id] = Turn(record, None, True, "in_progress")
        return record.id

    @rule(turn_id=turns, ids=item_ids, status=st.sampled_from(["completed", "incomplete", "failed"]))
    def commit(self, turn_id: str, ids: list[str | None], status: str) -> None:
        turn = self.turn_of[turn_id]
        if not turn.running:
            return
        model = self.known.get(turn.conversation or "")
        batch = [item(item_id) for item_id in ids] if model is not None and status != "failed" else []
        commit = commit_of(turn.record, *batch, status=status, stored=turn.stored)
        committing = self.storage.responses.commit(ALICE, commit)
        if self._repeats([entry.id for entry in batch]):
            with pytest.raises(DuplicateItem):
                self.run(committing)
        elif self._is_lost(turn, model):
            with pytest.raises(TurnLost):
                self.run(committing)
            turn.running = False
        elif model is not None and not model.deleted and self._held(model, batch):
            with pytest.raises(DuplicateItem):
                self.run(committing)
        else:
            self.run(committing)
            turn.running, turn.status = False, status if turn.status is not None else None
            if model is not None and not model.deleted:
                model.items += [entry.id for entry in batch]
                model.leased_to = None

    @rule(turn_id=consumes(turns))
    def unclaim(self, turn_id: str) -> None:
        turn = self.turn_of[turn_id]
        if not turn.running:
            return
        self.run(self.storage.responses.unclaim(ALICE, turn_id, turn.conversation))
        model = self.known.get(turn.conversation or "")
        if model is not None and model.leased_to == turn_id:
            model.leased_to = None
        turn.running, turn.status = False, None

    @rule(turn_id=turns)
    def delete_response(self, turn_id: str) -> None:
        turn = self.turn_of[turn_id]
        deleting = self.storage.responses.delete(ALICE, turn_id)
        if turn.status is None:
            with pytest.raises(ResponseNotFound):
                self.run(deleting)
        else:
            self.run(deleting)
            turn.status = None

    @rule()
    def let_every_lease_run_out_and_sweep(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            for table in ("conversations", "responses"):
                connection.execute(f"UPDATE {table} SET lease_expires_at = 1 WHERE lease_node IS NOT NULL")
            connection.commit()
        swept = self.run(self.storage.responses.sweep(lambda head: head))
        assert set(swept) == {turn_id for turn_id, turn in self.turn_of.items() if turn.status == "in_progress"}
        for turn in self.turn_of.values():
            if turn.running:
                turn.lost = True
                turn.status = turn.status and "failed"
        for model in self.known.values():
            model.leased_to = None

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        for conversation_id, model in self.known.items():
            if model.deleted:
                with pytest.raises(ConversationNotFound):
                    self.run(self.storage.conversations.get(ALICE, conversation_id))
            else:
                assert self.run(self.storage.conversations.get(ALICE, conversation_id)).metadata == model.metadata
                assert self.run(texts(self.storage, conversation_id)) == model.items
        for turn_id, turn in self.turn_of.items():
            if turn.status is None:
                with pytest.raises(ResponseNotFound):
                    self.run(self.storage.responses.get(ALICE, turn_id))
            else:
                assert self.run(self.storage.responses.get(ALICE, turn_id)).status == turn.status

    @staticmethod
    def _repeats(ids: list[str | None]) -> bool:
        chosen = [item_id for item_id in ids if item_id is not None]
        return len(chosen) != len(set(chosen))

    @staticmethod
    def _held(model: Conversation, batch: list[ItemRecord]) -> bool:
        return any(entry.client_id and entry.id in model.items for entry in batch)

    @staticmethod
    def _is_lost(turn: Turn, model: Conversation | None) -> bool:
        """A lost turn is told so by what it lost: its conversation's lease, or its response."""
        if not turn.lost:
            return False
        return (model is not None and not model.deleted) or turn.status is not None


TestStore = Store.TestCase
TestStore.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
