"""What the model is given, and what can be seen of it afterwards."""

from __future__ import annotations

import orjson
import pytest

from harness.event_stream import JsonObject, check_stream
from llama_conversations.access import DEFAULT_SCOPE
from llama_conversations.errors import (
    ConversationNotFound,
    CursorNotFound,
    DuplicateItem,
    InvalidParameter,
    PreviousResponseNotFound,
    ReferencedItemNotFound,
    ResponseNotFound,
)
from llama_conversations.ids import new_id
from unit.services.responses.support import Desk

QUESTION = {"type": "message", "role": "user", "content": "Earlier"}
PICTURE = {"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png"}]}


async def taken(desk: Desk, **fields: object) -> JsonObject:
    """A streamed turn's response."""
    return check_stream(await desk.events(**fields))


async def input_items(desk: Desk, response_id: str, **query: object) -> JsonObject:
    page = await desk.service.list_input_items(response_id, **query)  # type: ignore[arg-type]
    body: JsonObject = orjson.loads(page.body)
    return body


def texts(items: list[JsonObject]) -> list[str]:
    return [item["content"][0]["text"] for item in items]


def sent(desk: Desk) -> list[str]:
    """What the model was given last."""
    return [message["content"] for message in desk.model.bodies[-1]["messages"]]


async def test_the_input_items_of_a_response_are_the_history_and_its_own_input_newest_first(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION)
    first = await taken(desk, conversation=conversation_id)
    second = await taken(desk, conversation=conversation_id, input="Again", instructions="not an item")
    page = await input_items(desk, second["id"])
    assert texts(page["data"]) == ["Again", "Hello you", "Hi", "Earlier"]
    assert texts((await input_items(desk, first["id"], order="asc"))["data"]) == ["Earlier", "Hi"]
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])


async def test_the_input_items_of_a_chain_are_all_that_went_before(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION)
    first = await taken(desk, conversation=conversation_id)
    second = await taken(desk, previous_response_id=first["id"], input="And?")
    third = await taken(desk, previous_response_id=second["id"], input=[])
    page = await input_items(desk, third["id"], order="asc")
    assert texts(page["data"]) == ["Earlier", "Hi", "Hello you", "And?", "Hello you"] == sent(desk)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_input_items_page_fully(desk: Desk, order: str, limit: int) -> None:
    response = await taken(desk, input=[QUESTION | {"content": f"{n}"} for n in range(15)])
    seen: list[str] = []
    query: JsonObject = {"limit": limit, "order": order}
    more = True
    while more:
        page = await input_items(desk, response["id"], **query)
        seen += texts(page["data"])
        query, more = query | {"after": page["last_id"]}, page["has_more"]
    expected = [f"{n}" for n in range(15)]
    assert seen == (expected if order == "asc" else expected[::-1])


async def test_input_items_of_nothing_and_at_a_wrong_place_are_errors(desk: Desk) -> None:
    response = await taken(desk)
    with pytest.raises(CursorNotFound):
        await input_items(desk, response["id"], after="msg_elsewhere")
    with pytest.raises(ResponseNotFound):
        await input_items(desk, new_id("resp"))


async def test_input_items_hide_what_include_must_ask_for(desk: Desk) -> None:
    response = await taken(desk, input=[PICTURE])
    [hidden] = (await input_items(desk, response["id"]))["data"]
    [shown] = (await input_items(desk, response["id"], include=["message.input_image.image_url"]))["data"]
    assert (hidden["content"][0]["image_url"], shown["content"][0]["image_url"]) == (None, "https://x/y.png")


async def test_what_was_deleted_from_a_conversation_is_not_among_the_input_items_any_more(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION)
    response = await taken(desk, conversation=conversation_id)
    [first, *_] = await desk.held(conversation_id)
    await desk.storage.conversations.delete_item(DEFAULT_SCOPE, conversation_id, first["id"])
    assert texts((await input_items(desk, response["id"]))["data"]) == ["Hi"]
    await desk.storage.conversations.delete(DEFAULT_SCOPE, conversation_id)
    assert texts((await input_items(desk, response["id"]))["data"]) == ["Hi"]


async def test_a_chain_with_a_gap_cannot_be_continued_and_the_gap_is_named(desk: Desk) -> None:
    first = await taken(desk)
    second = await taken(desk, previous_response_id=first["id"])
    await desk.service.delete_response(first["id"])
    with pytest.raises(PreviousResponseNotFound) as found:
        await taken(desk, previous_response_id=second["id"])
    assert found.value.response_id == first["id"]


async def test_a_reference_is_replaced_by_what_it_names_wherever_that_is(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION)
    [held] = await desk.held(conversation_id)
    response = await taken(desk, input="Hi")
    said = response["output"][0]["id"]
    [asked] = (await input_items(desk, response["id"]))["data"]
    references = [{"type": "item_reference", "id": item} for item in (held["id"], asked["id"], said)]
    await taken(desk, input=[*references, {"role": "user", "content": "So?"}])
    assert sent(desk) == ["Earlier", "Hi", "Hello you", "So?"]


async def test_a_reference_to_nothing_is_refused_before_anything_is_stored(desk: Desk) -> None:
    with pytest.raises(ReferencedItemNotFound):
        await taken(desk, input=[{"type": "item_reference", "id": new_id("msg")}])
    with pytest.raises(ConversationNotFound):
        await taken(desk, conversation=new_id("conv"), input=[{"type": "item_reference", "id": new_id("msg")}])
    assert await desk.responses() == []


async def test_a_reference_to_what_the_context_holds_already_is_a_duplicate(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION)
    [held] = await desk.held(conversation_id)
    with pytest.raises(DuplicateItem):
        await taken(desk, conversation=conversation_id, input=[{"type": "item_reference", "id": held["id"]}])


@pytest.mark.parametrize("store", [True, False])
async def test_an_input_that_holds_an_id_twice_is_refused_before_the_model_is_asked(desk: Desk, store: bool) -> None:
    twice = [QUESTION | {"id": "msg_1"}, QUESTION | {"id": "msg_1"}]
    with pytest.raises(DuplicateItem) as found:
        await taken(desk, input=twice, store=store)
    assert found.value.item_id == "msg_1"
    assert not desk.model.asked.is_set()
    assert await desk.responses() == []


async def test_an_id_with_the_prefix_of_another_type_is_refused_by_its_path(desk: Desk) -> None:
    with pytest.raises(InvalidParameter) as found:
        await taken(desk, input=[QUESTION, QUESTION | {"id": "rs_1"}])
    assert found.value.param == "input[1].id"


async def test_ids_that_the_client_chose_are_kept(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    await taken(desk, conversation=conversation_id, input=[QUESTION | {"id": "msg_mine"}])
    assert (await desk.held(conversation_id))[0]["id"] == "msg_mine"


async def test_an_empty_input_continues_with_what_there_is(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION)
    for empty in ("", []):
        await taken(desk, conversation=conversation_id, input=empty)
    assert [item["role"] for item in await desk.held(conversation_id)] == ["user", "assistant", "assistant"]
