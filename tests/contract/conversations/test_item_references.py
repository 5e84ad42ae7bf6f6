"""``item_reference`` stands for a stored item that the caller may read: a copy of it is added."""

from __future__ import annotations

import pytest

from harness.answers import ok, refused
from harness.conversations import add, create, ids_of, items_of, texts_of, user
from llama_conversations.wire.items import INCLUDABLE
from unit.wire.item_samples import REQUIRED


def reference(item_id):
    return {"type": "item_reference", "id": item_id}


@pytest.mark.parametrize("form", [{"type": "item_reference"}, {"type": None}, {}], ids=["typed", "null", "untyped"])
def test_a_reference_to_another_conversations_item_adds_a_copy(http, form):
    source = create(http, [user("a"), {"role": "assistant", "content": "b"}])
    wanted = items_of(http, source)[1]
    target = create(http, [user("before")])
    (copied,) = add(http, target, [form | {"id": wanted["id"]}])
    assert copied == wanted
    assert items_of(http, target)[1] == wanted
    assert len(items_of(http, source)) == 2


def test_a_copy_stays_when_its_source_is_deleted(http):
    source = create(http, [user("a")])
    (item,) = ids_of(items_of(http, source))
    target = create(http, [reference(item)])
    ok(http.delete(f"/conversations/{source}"))
    assert texts_of(items_of(http, target)) == ["a"]


def test_a_copy_has_what_include_shows(http):
    source = create(http, [{"role": "user", "content": [{"type": "input_image", "image_url": "https://e.com/a"}]}])
    (item,) = ids_of(items_of(http, source))
    target = create(http, [reference(item)])
    assert items_of(http, target)[0]["content"][0]["image_url"] is None
    shown = items_of(http, target, **{"include[]": list(INCLUDABLE)})
    assert shown[0]["content"][0]["image_url"] == "https://e.com/a"
    assert shown == items_of(http, source, **{"include[]": list(INCLUDABLE)})


def test_references_stand_in_their_place_among_other_items(http):
    source = create(http, [user("x"), user("y")])
    x, y = ids_of(items_of(http, source))
    target = create(http, [user("1"), reference(y), user("2"), reference(x), user("3")])
    assert texts_of(items_of(http, target)) == ["1", "y", "2", "x", "3"]


def test_a_new_conversation_may_begin_with_references_of_every_type_that_gets_its_id_here(http):
    sent = [item for item in REQUIRED.values() if "id" not in item]
    source = create(http, sent)
    target = create(http, [reference(item) for item in ids_of(items_of(http, source))])
    assert items_of(http, target) == items_of(http, source)


def test_a_reference_within_the_same_conversation_is_a_duplicate(http):
    conversation = create(http, [user("a"), user("b", id="msg_own")])
    for item in ids_of(items_of(http, conversation)):
        answer = http.post(f"/conversations/{conversation}/items", json={"items": [reference(item)]})
        assert f"'{item}'" in refused(answer, 400, None, "items")
    assert texts_of(items_of(http, conversation)) == ["a", "b"]


def test_the_same_reference_twice_in_a_batch_is_a_duplicate(http):
    source = create(http, [user("a")])
    (item,) = ids_of(items_of(http, source))
    target = create(http)
    answer = http.post(f"/conversations/{target}/items", json={"items": [reference(item), reference(item)]})
    refused(answer, 400, None, "items")
    assert items_of(http, target) == []


@pytest.mark.parametrize("item", ["msg_unknown", "msg_" + "0" * 48, "rs_" + "a" * 50, "%", "_"])
def test_a_reference_to_nothing_is_not_found(http, item):
    conversation = create(http)
    answer = http.post(f"/conversations/{conversation}/items", json={"items": [reference(item)]})
    if item == "%":
        refused(answer, 400, "invalid_value", "items[0].id")
    else:
        assert refused(answer, 404) == f"Item with id '{item}' not found."
    assert items_of(http, conversation) == []


def test_a_reference_to_a_deleted_item_is_not_found(http):
    source = create(http, [user("a"), user("b")])
    item = ids_of(items_of(http, source))[0]
    ok(http.delete(f"/conversations/{source}/items/{item}"))
    target = create(http)
    assert refused(http.post(f"/conversations/{target}/items", json={"items": [reference(item)]}), 404)


def test_a_reference_into_an_unknown_conversation_is_about_the_conversation(http):
    source = create(http, [user("a")])
    (item,) = ids_of(items_of(http, source))
    url = f"/conversations/conv_{'0' * 48}/items"
    assert refused(http.post(url, json={"items": [reference(item)]}), 404).startswith("Conversation with id")


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "item_reference"}, "missing_required_parameter", "items[0].id"),
        ({"type": "item_reference", "id": None}, "invalid_type", "items[0].id"),
        ({"type": "item_reference", "id": 7}, "invalid_type", "items[0].id"),
        ({"type": "item_reference", "id": "x" * 65}, "string_above_max_length", "items[0].id"),
    ],
)
def test_a_reference_needs_an_id(http, item, code, param):
    refused(http.post(f"/conversations/{create(http)}/items", json={"items": [item]}), 400, code, param)


def test_an_id_that_a_client_chose_is_known_within_its_conversation_alone(http):
    create(http, [user("a", id="msg_chosen_by_me")])
    answer = http.post("/conversations", json={"items": [reference("msg_chosen_by_me")]})
    assert refused(answer, 404) == "Item with id 'msg_chosen_by_me' not found."
