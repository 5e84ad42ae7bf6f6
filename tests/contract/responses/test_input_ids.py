"""Ids of input items: kept, made, checked; items that are referred to."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, ids_of, items_of, user
from harness.turns import TIME, WEATHER, input_items, messages_for, post, stream, text_of, turn
from scripted_model import ScriptedModel


def reference(item_id: str, **fields: object) -> dict[str, object]:
    """Stands for a stored item."""
    return {"type": "item_reference", "id": item_id, **fields}


@pytest.fixture
def busy(http: httpx2.Client) -> str:
    """A conversation of two messages, ``msg_first`` and the one after."""
    return create(http, [user("First", id="msg_first"), user("Second")])


def test_input_items_get_ids_and_a_status(http: httpx2.Client) -> None:
    response = turn(http, "echo", [user("One"), {"role": "system", "content": "Two"}])
    for item in input_items(http, response["id"]):
        assert re.fullmatch(rf"msg_{response['id'][5:13]}[0-9a-f]{{40}}", item["id"])
        assert item["status"] == "completed"


def test_a_clients_id_is_kept(http: httpx2.Client, busy: str) -> None:
    response = turn(http, "echo", [user("Mine", id="msg_mine")], conversation=busy)
    assert ids_of(items_of(http, busy))[2] == "msg_mine"
    assert ids_of(input_items(http, response["id"]))[-1] == "msg_mine"


@pytest.mark.parametrize(
    ("item", "prefix"),
    [
        (user("x", id="fc_1"), "msg"),
        ({"type": "function_call", "id": "msg_1", "call_id": "c", "name": "f", "arguments": "{}"}, "fc"),
        ({"type": "function_call_output", "id": "msg_1", "call_id": "c", "output": "x"}, "fc"),
        ({"type": "reasoning", "id": "msg_1", "summary": []}, "rs"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_id_of_the_wrong_prefix_is_refused(
    http: httpx2.Client, item: dict[str, Any], prefix: str, streamed: bool
) -> None:
    answer = post(http, "echo", [user("fine"), item], stream=streamed)
    message = refused(answer, 400, "invalid_value", "input[1].id")
    assert message == f"Invalid 'input[1].id': '{item['id']}'. Expected an ID that begins with '{prefix}'."


def test_an_id_that_the_conversation_holds_is_refused_and_nothing_is_kept(
    http: httpx2.Client, model: ScriptedModel, tag: str, busy: str
) -> None:
    before = items_of(http, busy)
    answer = post(http, "echo", [user(f"tag={tag}"), user("Again", id="msg_first")], conversation=busy)
    assert "msg_first" in refused(answer, 400, None, "input")
    assert (model.requests(tag=tag), items_of(http, busy)) == ([], before)
    turn(http, "echo", "Not locked", conversation=busy)


@pytest.mark.parametrize("stored", [True, False])
def test_an_id_twice_in_one_input_is_refused(http: httpx2.Client, model: ScriptedModel, tag: str, stored: bool) -> None:
    answer = post(http, "echo", [user(f"tag={tag}", id="msg_1"), user("b", id="msg_1")], store=stored)
    refused(answer, 400, None, "input")
    assert model.requests(tag=tag) == []


def test_an_id_that_a_chain_holds_is_refused(http: httpx2.Client) -> None:
    first = turn(http, "echo", [user("a", id="msg_chained")])
    refused(post(http, "echo", [user("b", id="msg_chained")], previous_response_id=first["id"]), 400, None, "input")


def test_the_same_client_id_may_stand_in_two_conversations(http: httpx2.Client, busy: str) -> None:
    other = create(http)
    turn(http, "echo", [user("Other", id="msg_first")], conversation=other)
    assert items_of(http, busy)[0]["content"][0]["text"] == "First"
    assert items_of(http, other)[0]["content"][0]["text"] == "Other"


@pytest.mark.parametrize("form", ["typed", "untyped", "null"])
def test_a_reference_stands_for_an_item_of_a_conversation(
    http: httpx2.Client, model: ScriptedModel, tag: str, busy: str, form: str
) -> None:
    item_id = ids_of(items_of(http, busy))[1]
    named = {"typed": reference(item_id), "untyped": {"id": item_id}, "null": {"id": item_id, "type": None}}[form]
    response = turn(http, "echo", [named, user(f"tag={tag}")])
    assert messages_for(model, tag)[0] == {"role": "user", "content": "Second"}
    assert input_items(http, response["id"])[0] == items_of(http, busy)[1]


@pytest.mark.parametrize("mode", ["echo", "tool"])
def test_a_reference_stands_for_an_output_item_of_a_response(
    http: httpx2.Client, model: ScriptedModel, tag: str, mode: str
) -> None:
    earlier = turn(http, mode, "One", tools=[WEATHER])["output"][0]
    items: list[Any] = [reference(earlier["id"])]
    if mode == "tool":
        items.append({"type": "function_call_output", "call_id": earlier["call_id"], "output": "sun"})
    turn(http, mode, [*items, user(f"tag={tag}")], tools=[TIME])
    assert messages_for(model, tag)[0]["role"] == "assistant"


def test_a_reference_stands_for_an_input_item_of_a_response(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    first = turn(http, "echo", "Said before")
    [asked] = input_items(http, first["id"])
    turn(http, "echo", [reference(asked["id"]), user(f"tag={tag}")])
    assert messages_for(model, tag)[0] == {"role": "user", "content": "Said before"}


def test_a_reference_puts_a_copy_of_an_item_into_another_conversation(http: httpx2.Client, busy: str) -> None:
    item = items_of(http, busy)[1]
    other = create(http)
    turn(http, "echo", [reference(item["id"])], conversation=other)
    assert items_of(http, other)[0] == item
    assert items_of(http, busy)[1] == item


def test_a_reference_to_an_item_of_the_same_conversation_is_a_duplicate(http: httpx2.Client, busy: str) -> None:
    refused(post(http, "echo", [reference("msg_first")], conversation=busy), 400, None, "input")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("item_id", ["msg_" + "0" * 48, "msg_unknown", "rs_1"])
def test_a_reference_to_nothing_is_not_found(http: httpx2.Client, item_id: str, streamed: bool) -> None:
    message = refused(post(http, "echo", [reference(item_id)], stream=streamed), 404)
    assert message == f"Item with id '{item_id}' not found."


def test_an_item_that_was_deleted_is_not_found_by_reference(http: httpx2.Client, busy: str) -> None:
    item_id = ids_of(items_of(http, busy))[1]
    ok(http.delete(f"/conversations/{busy}/items/{item_id}"))
    refused(post(http, "echo", [reference(item_id)]), 404)


def test_the_output_of_a_response_can_be_sent_back_verbatim(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    first = turn(http, "reasoning", "One")
    second = turn(http, "echo", [user("One"), *first["output"], user(f"tag={tag}")])
    assert [message["content"] for message in messages_for(model, tag)] == ["One", "42", f"tag={tag}"]
    assert input_items(http, second["id"])[1:3] == first["output"]


def test_every_stored_item_can_be_sent_back_verbatim(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http, [{"role": "developer", "content": "Be kind."}, user("Hello")])
    turn(http, "reasoning", "Think", conversation=conversation_id)
    turn(http, "parallel-tools", "Call", conversation=conversation_id, tools=[WEATHER, TIME])
    outputs = [
        {"type": "function_call_output", "call_id": f"call_{city}", "output": city} for city in ("paris", "rome")
    ]
    turn(http, "refusal", outputs, conversation=conversation_id)
    everything = items_of(http, conversation_id)
    assert text_of(turn(http, "echo", [*everything, user("Last")])).endswith("last=Last")
    assert text_of(stream(http, "echo", [*everything, user("Last")]).response).endswith("last=Last")
