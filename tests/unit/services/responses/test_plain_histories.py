"""Stored messages that are nothing but text: told without a model of their own, and just as they would be with one."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from harness.event_stream import JsonObject
from llama_conversations.errors import StackError
from llama_conversations.services.items import prepare_item
from llama_conversations.services.responses.chat_messages import after_compaction, chat_messages
from llama_conversations.services.responses.chat_parts import call_ids
from llama_conversations.services.responses.history import NO_HISTORY, Context, History, read_items, read_told
from llama_conversations.services.responses.responses_wire import ResponsesWire
from llama_conversations.storage.records import ItemRecord
from llama_conversations.wire.items import INPUT_ITEM, PlainMessage, item_model, plain_fields
from unit.services.responses.support import Desk, ScriptedModel, toolbox, turn_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CITATION = {"type": "url_citation", "url": "u", "start_index": 0, "end_index": 1, "title": "t"}
PARTS = st.one_of(
    st.builds(lambda text: {"type": "input_text", "text": text}, TEXTS),
    st.builds(lambda text: {"type": "output_text", "annotations": [], "logprobs": [], "text": text}, TEXTS),
    st.builds(lambda text: {"type": "output_text", "text": text, "logprobs": [], "annotations": [CITATION]}, TEXTS),
    st.builds(lambda text: {"type": "output_text", "text": text, "logprobs": None}, TEXTS),
    st.builds(lambda text: {"type": "input_text", "text": text, "more": 1 << 70}, TEXTS),
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.builds(lambda text: {"type": "refusal", "refusal": text}, TEXTS),
    st.just({"type": "input_image", "image_url": "http://image"}),
)
ROLES = st.sampled_from(["user", "system", "developer", "assistant"])
STATUSES = st.sampled_from(["completed", "incomplete", "in_progress"])
MESSAGES = st.fixed_dictionaries(
    {"type": st.just("message"), "role": ROLES, "content": st.one_of(st.lists(PARTS, max_size=3), TEXTS)},
    optional={
        "status": st.one_of(STATUSES, st.none()),
        "id": st.none(),
        "phase": st.sampled_from(["commentary", None]),
        "more": st.just(1),
    },
)
PLAIN = st.builds(
    lambda role, status, parts: {"type": "message", "status": status, "role": role, "content": parts},
    ROLES,
    STATUSES,
    st.lists(PARTS, min_size=1, max_size=2),
)
CALLS: Sequence[JsonObject] = [
    {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "done"},
    {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "n", "arguments": "{}"},
    {"type": "mcp_approval_response", "id": "mcpa_1", "approval_request_id": "mcpr_1", "approve": False},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed:summary"},
]
STORIES = st.lists(st.one_of(PLAIN, MESSAGES, st.sampled_from(CALLS)), max_size=12)


def unseal(token: str) -> str | None:
    return token.removeprefix("sealed:")


def records_of(story: Sequence[JsonObject]) -> Sequence[ItemRecord]:
    """As items are stored, the fields in whatever order they came."""
    named = [
        {"id": f"msg_{number}"} | {k: v for k, v in item.items() if k != "id" or v} for number, item in enumerate(story)
    ]
    return [ItemRecord(str(item["id"]), str(item["type"]), to_json(item).decode()) for item in named]


def told_in_chat(context: Context) -> bytes | str:
    try:
        return b",".join(context.chat_messages((), unseal))
    except StackError as error:
        return str(error)


def told_in_chat_with_models(records: Sequence[ItemRecord]) -> bytes | str:
    try:
        return b",".join(chat_messages((), read_items(records), unseal))
    except StackError as error:
        return str(error)


def told_to_upstream(context: Context) -> bytes | str:
    try:
        return ResponsesWire(turn_of(ScriptedModel()), unseal).request(context, toolbox())
    except StackError as error:
        return str(error)


@settings(deadline=None)
@given(STORIES)
def test_a_history_is_told_as_if_each_of_its_items_had_a_model(story: Sequence[JsonObject]) -> None:
    records = records_of(story)
    items, told = read_items(records), read_told(records)
    assert told_in_chat(Context(History(records), ())) == told_in_chat_with_models(records)
    assert told_in_chat(Context(NO_HISTORY, told)) == told_in_chat_with_models(records)
    assert told_to_upstream(Context(NO_HISTORY, told)) == told_to_upstream(Context(NO_HISTORY, items))
    assert list(Context(NO_HISTORY, told)) == list(items)
    assert told_to_upstream(Context(History(records), ())) == told_to_upstream(Context(NO_HISTORY, items))
    assert call_ids(told) == call_ids(items)
    assert [item.id for item in after_compaction(told)] == [item.id for item in after_compaction(items)]


@settings(deadline=None)
@given(STORIES)
def test_what_is_read_without_a_model_is_all_that_was_stored(story: Sequence[JsonObject]) -> None:
    for record, told in zip(records := records_of(story), read_told(records), strict=True):
        if isinstance(told, PlainMessage):
            item_id, status, role, parts = told
            content = [
                {"type": kind, "text": text} | ({"annotations": [], "logprobs": []} if kind == "output_text" else {})
                for kind, text in parts
            ]
            stored = {"id": item_id, "type": "message", "status": status, "role": role, "content": content}
            assert orjson.loads(record.data) == plain_fields(told) == stored
            [item] = read_items([record])
            assert item_model(told) == item
            assert item_model(told).model_dump(exclude_unset=True) == item.model_dump(exclude_unset=True)
        else:
            assert [told] == read_items([record])


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
@pytest.mark.parametrize(
    "content", ["Hi", [{"type": "input_text", "text": "Hi"}], [{"type": "output_text", "text": "Hi"}]]
)
def test_messages_of_text_need_no_model_as_they_are_stored(role: str, content: object) -> None:
    sent = {"type": "message", "role": role, "content": content}
    [told] = read_told([prepare_item(INPUT_ITEM.validate_python(sent), "0" * 8)])
    assert type(told) is PlainMessage
    assert (told.role, told.status, [text for _, text in told.parts]) == (role, "completed", ["Hi"])


async def test_what_a_model_has_said_needs_no_model_in_the_next_turn(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    await desk.events(conversation=conversation_id, input="Hi")
    held = [
        ItemRecord(str(item["id"]), str(item["type"]), orjson.dumps(item).decode())
        for item in await desk.held(conversation_id)
    ]
    assert [type(item) for item in read_told(held)] == [PlainMessage, PlainMessage]
