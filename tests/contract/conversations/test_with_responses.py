"""Where conversations and responses meet: items of responses referred to, and what a deletion leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.answers import ok, refused
from harness.conversations import add, create, ids_of, items_of, texts_of, user


def take_turn(http, text, **fields):
    return ok(http.post("/responses", json={"model": "echo", "input": text, **fields}))


@pytest.fixture
def turn(http):
    """A conversation with one item, and a response that was made in it."""
    conversation = create(http, [user("first")])
    return conversation, take_turn(http, "second", conversation=conversation)


def test_a_turns_items_are_read_and_deleted_like_any_others(http, turn):
    conversation, response = turn
    items = items_of(http, conversation)
    assert [item["role"] for item in items] == ["user", "user", "assistant"]
    assert items[2] == response["output"][0]
    url = f"/conversations/{conversation}/items/{items[2]['id']}"
    assert ok(http.get(url)) == items[2]
    assert ok(http.delete(url))["id"] == conversation
    assert texts_of(items_of(http, conversation)) == ["first", "second"]


def test_deleting_a_conversation_leaves_its_responses_retrievable(http, turn):
    conversation, response = turn
    ok(http.delete(f"/conversations/{conversation}"))
    assert ok(http.get(f"/responses/{response['id']}")) == response
    refused(http.get(f"/conversations/{conversation}/items"), 404)


def test_deleting_a_response_leaves_its_items_in_the_conversation(http, turn):
    conversation, response = turn
    before = items_of(http, conversation)
    ok(http.delete(f"/responses/{response['id']}"))
    assert items_of(http, conversation) == before


@pytest.mark.parametrize("store", [True, False])
def test_a_reference_to_an_output_item_of_a_turn_copies_it(http, turn, store):
    source = create(http, [user("x")])
    (output,) = take_turn(http, "y", conversation=source, store=store)["output"]
    target = create(http)
    (copied,) = add(http, target, [{"type": "item_reference", "id": output["id"]}])
    assert copied == output
    assert items_of(http, target) == [output]


def test_a_reference_to_an_item_of_a_response_without_conversation_copies_it(http):
    response = take_turn(http, "hello")
    (output,) = response["output"]
    (given,) = ok(http.get(f"/responses/{response['id']}/input_items"))["data"]
    target = create(http, [{"id": given["id"]}, {"type": "item_reference", "id": output["id"]}])
    assert items_of(http, target) == [given, output]


def test_an_item_of_a_response_that_was_not_stored_cannot_be_referred_to(http):
    (output,) = take_turn(http, "hello", store=False)["output"]
    answer = http.post("/conversations", json={"items": [{"type": "item_reference", "id": output["id"]}]})
    assert refused(answer, 404) == f"Item with id '{output['id']}' not found."


def test_a_reference_to_a_turns_item_in_its_own_conversation_is_a_duplicate(http, turn):
    conversation, response = turn
    reference = {"type": "item_reference", "id": response["output"][0]["id"]}
    refused(http.post(f"/conversations/{conversation}/items", json={"items": [reference]}), 400, None, "items")
    assert len(items_of(http, conversation)) == 3


def test_what_was_deleted_from_a_conversation_comes_back_by_a_reference_to_the_response_that_made_it(http, turn):
    conversation, response = turn
    (output,) = response["output"]
    ok(http.delete(f"/conversations/{conversation}/items/{output['id']}"))
    add(http, conversation, [user("between"), {"type": "item_reference", "id": output["id"]}])
    assert texts_of(items_of(http, conversation)) == ["first", "second", "between", output["content"][0]["text"]]


def test_items_that_a_turn_makes_share_the_conversations_partition(http, turn):
    conversation, response = turn
    partition = conversation.removeprefix("conv_")[:8]
    ids = [*ids_of(items_of(http, conversation)), response["id"]]
    assert [item.partition("_")[2][:8] for item in ids] == [partition] * 4


def test_items_can_be_added_and_deleted_while_a_turn_runs(http, model, server):
    """The turn holds the conversation against other turns alone; what is added meanwhile stands before its items."""
    conversation = create(http, [user("old", id="msg_old")])
    with ThreadPoolExecutor(1) as pool, server.http() as other:
        body = {"model": "slow", "input": "gate=items-meanwhile", "conversation": conversation}
        turn = pool.submit(other.post, "/responses", json=body)
        model.wait_until_reached("items-meanwhile")
        add(http, conversation, [user("added")])
        ok(http.delete(f"/conversations/{conversation}/items/msg_old"))
        ok(http.post(f"/conversations/{conversation}", json={"metadata": {"k": "v"}}))
        model.open_gate("items-meanwhile")
        ok(turn.result())
    assert texts_of(items_of(http, conversation)) == ["added", "gate=items-meanwhile", "before after"]


def test_deleting_a_conversation_while_a_turn_runs_keeps_the_turns_response_alone(http, model, server):
    conversation = create(http, [user("old")])
    with ThreadPoolExecutor(1) as pool, server.http() as other:
        body = {"model": "slow", "input": "gate=deleted-meanwhile", "conversation": conversation}
        turn = pool.submit(other.post, "/responses", json=body)
        model.wait_until_reached("deleted-meanwhile")
        ok(http.delete(f"/conversations/{conversation}"))
        model.open_gate("deleted-meanwhile")
        response = ok(turn.result())
    assert ok(http.get(f"/responses/{response['id']}")) == response
    refused(http.get(f"/conversations/{conversation}"), 404)
    refused(http.get(f"/conversations/{conversation}/items"), 404)
