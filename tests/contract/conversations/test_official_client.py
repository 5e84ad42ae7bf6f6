"""The official client, unmodified: sync and async, and refusing what does not fit its own types."""

from __future__ import annotations

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.conversations import Conversation, ConversationDeletedResource, Message

from llama_conversations.wire.items import INCLUDABLE
from unit.wire.item_samples import KNOWN_TO_THE_CLIENT


def user(text):
    return {"type": "message", "role": "user", "content": text}


def said(items):
    return [item.content[0].text for item in items]


@pytest.fixture(params=["lenient", "strict"])
def sync_client(request, client, strict_client) -> OpenAI:
    return strict_client if request.param == "strict" else client


@pytest.fixture(params=["lenient", "strict"])
def asynchronous_client(request, async_client, strict_async_client) -> AsyncOpenAI:
    return strict_async_client if request.param == "strict" else async_client


def test_a_conversations_whole_life(sync_client):
    conversations = sync_client.conversations
    made = conversations.create(metadata={"topic": "demo"}, items=[user("Hello!")])
    assert isinstance(made, Conversation)
    assert made.object == "conversation"
    assert made._request_id.startswith("req_")
    assert conversations.retrieve(made.id) == made
    updated = conversations.update(made.id, metadata={"topic": "project-x"})
    assert updated.metadata == {"topic": "project-x"}
    assert (updated.id, updated.created_at) == (made.id, made.created_at)
    added = conversations.items.create(made.id, items=[user("How are you?"), {"role": "assistant", "content": "Well."}])
    assert said(added.data) == ["How are you?", "Well."]
    assert (added.first_id, added.last_id, added.has_more) == (added.data[0].id, added.data[1].id, False)
    listed = conversations.items.list(made.id, limit=10)
    assert said(listed.data) == ["Well.", "How are you?", "Hello!"]
    one = conversations.items.retrieve(added.data[0].id, conversation_id=made.id)
    assert isinstance(one, Message)
    assert (one.role, one.status, one.content[0].type) == ("user", "completed", "input_text")
    after_deletion = conversations.items.delete(one.id, conversation_id=made.id)
    assert isinstance(after_deletion, Conversation)
    assert after_deletion == updated
    assert said(conversations.items.list(made.id, order="asc")) == ["Hello!", "Well."]
    deleted = conversations.delete(made.id)
    assert isinstance(deleted, ConversationDeletedResource)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "conversation.deleted")
    with pytest.raises(openai.NotFoundError):
        conversations.retrieve(made.id)


async def test_a_conversations_whole_life_asynchronously(asynchronous_client):
    conversations = asynchronous_client.conversations
    made = await conversations.create(metadata={"topic": "demo"}, items=[user("Hello!")])
    updated = await conversations.update(made.id, metadata=None)
    assert updated.metadata == {}
    added = await conversations.items.create(made.id, items=[user(str(n)) for n in range(20)])
    assert said(added.data) == [str(n) for n in range(20)]
    listed = [item async for item in conversations.items.list(made.id, order="asc", limit=6)]
    assert said(listed) == ["Hello!", *(str(n) for n in range(20))]
    one = await conversations.items.retrieve(listed[3].id, conversation_id=made.id)
    assert one == listed[3]
    assert await conversations.items.delete(one.id, conversation_id=made.id) == updated
    assert (await conversations.delete(made.id)).deleted is True
    with pytest.raises(openai.NotFoundError):
        await conversations.items.create(made.id, items=[user("x")])


@pytest.mark.parametrize(
    "arguments", [{}, {"items": []}, {"items": None}, {"metadata": None}, {"metadata": {}}], ids=str
)
def test_a_conversation_is_created_from_nothing(sync_client, arguments):
    made = sync_client.conversations.create(**arguments)
    assert made.metadata == {}
    assert list(sync_client.conversations.items.list(made.id)) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_the_clients_own_paging_reads_every_item_once(sync_client, order, limit):
    conversation = sync_client.conversations.create(items=[user(str(n)) for n in range(20)])
    read = said(sync_client.conversations.items.list(conversation.id, order=order, limit=limit))
    wanted = [str(n) for n in range(20)]
    assert read == (wanted if order == "asc" else wanted[::-1])


@pytest.mark.parametrize("item", KNOWN_TO_THE_CLIENT, ids=lambda item: item["type"])
def test_every_type_of_item_is_of_the_clients_type(strict_client, item):
    conversation = strict_client.conversations.create()
    items = strict_client.conversations.items
    (made,) = items.create(conversation.id, items=[item], include=list(INCLUDABLE)).data
    assert made.type == item["type"]
    assert isinstance(made, Message) == (item["type"] == "message")
    whole = items.retrieve(made.id, conversation_id=conversation.id, include=list(INCLUDABLE))
    assert whole == made
    (masked,) = items.list(conversation.id)
    assert (type(masked), masked.id) == (type(made), made.id)


def test_what_the_client_got_it_can_send_again(client):
    first = client.conversations.create(items=[item for item in KNOWN_TO_THE_CLIENT if "id" not in item][:20])
    items = [item.to_dict() for item in client.conversations.items.list(first.id, order="asc")]
    second = client.conversations.create(items=items)
    assert [item.to_dict() for item in client.conversations.items.list(second.id, order="asc")] == items


def test_errors_are_the_clients_own_kinds_with_all_that_they_carry(client):
    conversation = client.conversations.create()
    with pytest.raises(openai.BadRequestError) as refused:
        client.conversations.update(conversation.id, metadata={"k": "v" * 513})
    error = refused.value
    assert (error.code, error.param, error.type) == ("string_above_max_length", "metadata.k", "invalid_request_error")
    assert error.request_id.startswith("req_")
    with pytest.raises(openai.NotFoundError) as missing:
        client.conversations.items.retrieve("msg_none", conversation_id=conversation.id)
    assert (missing.value.code, missing.value.param) == (None, None)
    with pytest.raises(openai.BadRequestError) as many:
        client.conversations.items.create(conversation.id, items=[user("x")] * 21)
    assert many.value.code == "array_above_max_length"


def test_a_raw_answer_shows_the_headers(client):
    raw = client.conversations.with_raw_response.create()
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-request-id"] == raw.request_id
    assert raw.parse().id.startswith("conv_")


async def test_the_agents_sessions_way_of_reading_gets_everything(asynchronous_client):
    """It creates with no items, adds batches of 20, reads all in order, pops the newest and clears by deleting."""
    conversations = asynchronous_client.conversations
    session = (await conversations.create(items=[])).id
    for start in range(0, 60, 20):
        await conversations.items.create(session, items=[user(str(n)) for n in range(start, start + 20)])
    assert said([item async for item in conversations.items.list(session, order="asc")]) == [str(n) for n in range(60)]
    newest = [item async for item in conversations.items.list(session, order="desc", limit=60)][:3]
    assert said(newest) == ["59", "58", "57"]
    page = await conversations.items.list(session, order="desc", limit=1)
    await conversations.items.delete(page.data[0].id, conversation_id=session)
    page = await conversations.items.list(session, order="desc", limit=1)
    assert said(page.data) == ["58"]
    await conversations.delete(session)


def test_an_include_of_nothing_is_fine(sync_client):
    conversation = sync_client.conversations.create(items=[user("a")])
    items = sync_client.conversations.items
    assert said(items.list(conversation.id, include=[])) == ["a"]
    assert said(items.create(conversation.id, items=[user("b")], include=[]).data) == ["b"]
