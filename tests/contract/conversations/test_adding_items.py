"""Appending items: order, limits, atomicity, ids; reading and deleting one."""

from __future__ import annotations

import re

import pytest

from harness.answers import ok, refused
from harness.conversations import add, create, ids_of, items_of, page, texts_of, user
from llama_conversations.wire.items import ITEM_TYPES
from unit.wire.item_samples import REQUIRED

BAD_ITEMS = {
    "no role": ({"type": "message", "content": "x"}, "invalid_value|missing_required_parameter"),
    "unknown role": ({"type": "message", "role": "tool", "content": "x"}, "invalid_value"),
    "unknown type": ({"type": "nonsense"}, "invalid_value"),
    "no content": ({"type": "message", "role": "user"}, "missing_required_parameter"),
    "unknown part": ({"role": "user", "content": [{"type": "nope"}]}, "invalid_value"),
    "a part without text": ({"role": "user", "content": [{"type": "input_text"}]}, "missing_required_parameter"),
    "a number": (1, "invalid_type"),
    "null": (None, "invalid_type"),
    "an empty object": ({}, "missing_required_parameter"),
    "a trigger": ({"type": "compaction_trigger"}, "invalid_value"),
    "empty reasoning": ({"type": "reasoning", "summary": []}, "invalid_item"),
    "a bad id": (user("x", id="not an id"), "invalid_value"),
    "an empty id": (user("x", id=""), "string_below_min_length"),
    "an id of 65": (user("x", id="m" * 65), "string_above_max_length"),
    "a numeric id": (user("x", id=5), "invalid_type"),
}


def newest_conversation(http):
    return ok(http.get("/conversations", params={"limit": 1}))["data"]


# ------------------------------------------------------------------------------------------------ order and answer


def test_the_answer_lists_the_new_items_in_the_order_of_the_request(http):
    conversation = create(http, [user("before")])
    answer = ok(http.post(f"/conversations/{conversation}/items", json={"items": [user("a"), user("b"), user("c")]}))
    assert answer.keys() == {"object", "data", "first_id", "last_id", "has_more"}
    assert answer["object"] == "list"
    assert texts_of(answer["data"]) == ["a", "b", "c"]
    assert (answer["first_id"], answer["last_id"]) == (answer["data"][0]["id"], answer["data"][-1]["id"])
    assert answer["has_more"] is False
    assert items_of(http, conversation)[1:] == answer["data"]


def test_batches_follow_each_other_in_the_order_of_their_requests(http):
    conversation = create(http, [user("0"), user("1")])
    for batch in range(1, 6):
        add(http, conversation, [user(str(2 * batch)), user(str(2 * batch + 1))])
    assert texts_of(items_of(http, conversation)) == [str(n) for n in range(12)]


def test_the_same_text_twice_stays_twice(http):
    conversation = create(http, [user("again"), user("again")])
    add(http, conversation, [user("again")])
    items = items_of(http, conversation)
    assert texts_of(items) == ["again"] * 3
    assert len(set(ids_of(items))) == 3


def test_no_items_are_added_by_an_empty_list(http):
    conversation = create(http, [user("a")])
    answer = ok(http.post(f"/conversations/{conversation}/items", json={"items": []}))
    assert answer == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert texts_of(items_of(http, conversation)) == ["a"]


def test_items_of_every_role_stay_what_they_are(http):
    roles = ["system", "developer", "user", "assistant"]
    conversation = create(http, [{"role": role, "content": role} for role in roles])
    items = items_of(http, conversation)
    assert [item["role"] for item in items] == roles
    assert [item["content"][0]["type"] for item in items] == ["input_text"] * 3 + ["output_text"]


def test_a_string_is_stored_and_answered_as_one_typed_part(http):
    conversation = create(http)
    (made,) = add(http, conversation, [{"role": "user", "content": "hi"}])
    assert made == {
        "id": made["id"],
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    assert items_of(http, conversation) == [made]
    assert ok(http.get(f"/conversations/{conversation}/items/{made['id']}")) == made


# ----------------------------------------------------------------------------------------------------------- limits


def test_20_items_are_taken_and_21_refused(http):
    twenty = [user(str(n)) for n in range(20)]
    conversation = create(http, twenty)
    assert len(add(http, conversation, twenty)) == 20
    url = f"/conversations/{conversation}/items"
    message = refused(http.post(url, json={"items": [*twenty, user("x")]}), 400, "array_above_max_length", "items")
    assert "20" in message
    assert "21" in message
    assert len(items_of(http, conversation)) == 40
    newest = newest_conversation(http)
    refused(http.post("/conversations", json={"items": [*twenty, user("x")]}), 400, "array_above_max_length", "items")
    assert newest_conversation(http) == newest


@pytest.mark.parametrize("items", [{}, "x", 1, True])
def test_items_must_be_a_list(http, items):
    conversation = create(http)
    refused(http.post(f"/conversations/{conversation}/items", json={"items": items}), 400, "invalid_type", "items")
    refused(http.post("/conversations", json={"items": items}), 400, "invalid_type", "items")


def test_an_append_needs_items(http):
    url = f"/conversations/{create(http)}/items"
    refused(http.post(url, json={}), 400, "missing_required_parameter", "items")
    refused(http.post(url, json={"items": None}), 400, "invalid_type", "items")
    refused(http.post(url), 400, "invalid_json")


def test_text_of_a_megabyte_is_kept_whole(http):
    text = 'é\n"\\\u2028🦙' * 150_000
    conversation = create(http, [user(text)])
    assert texts_of(items_of(http, conversation)) == [text]


# -------------------------------------------------------------------------------------------------------- atomicity


@pytest.mark.parametrize("place", [0, 1, 7, 19])
@pytest.mark.parametrize(("bad", "codes"), BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_a_bad_item_anywhere_leaves_nothing_of_its_batch(http, bad, codes, place):
    items: list[object] = [user(str(n)) for n in range(20)]
    items[place] = bad
    conversation = create(http, [user("first")])
    before = items_of(http, conversation)
    newest = newest_conversation(http)
    for answer in (
        http.post(f"/conversations/{conversation}/items", json={"items": items}),
        http.post("/conversations", json={"items": items, "metadata": {"k": "v"}}),
    ):
        error = answer.json()["error"]
        assert error["code"] in codes.split("|")
        assert (
            error["param"] == "item"
            if error["code"] == "invalid_item"
            else error["param"].startswith(f"items[{place}]")
        )
        refused(answer, 400, error["code"], error["param"])
    assert items_of(http, conversation) == before
    assert newest_conversation(http) == newest
    add(http, conversation, [user("second")])
    assert texts_of(items_of(http, conversation)) == ["first", "second"]


@pytest.mark.parametrize("place", [0, 9, 19])
def test_an_unknown_reference_anywhere_leaves_nothing_of_its_batch(http, place):
    items: list[object] = [user(str(n)) for n in range(20)]
    items[place] = {"type": "item_reference", "id": "msg_unknown"}
    conversation = create(http, [user("first")])
    newest = newest_conversation(http)
    for answer in (
        http.post(f"/conversations/{conversation}/items", json={"items": items}),
        http.post("/conversations", json={"items": items}),
    ):
        assert refused(answer, 404) == "Item with id 'msg_unknown' not found."
    assert texts_of(items_of(http, conversation)) == ["first"]
    assert newest_conversation(http) == newest


# -------------------------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize("kind", [kind for kind in REQUIRED if "id" not in REQUIRED[kind]])
def test_an_id_that_is_made_tells_the_type_and_the_conversation(http, kind):
    conversation = create(http)
    (made,) = add(http, conversation, [REQUIRED[kind]])
    assert re.fullmatch(rf"{ITEM_TYPES[kind].prefix}_[0-9a-f]{{48}}", made["id"])
    assert made["id"].partition("_")[2].startswith(conversation.removeprefix("conv_")[:8])


def test_ids_that_are_made_are_never_made_twice(http):
    conversation = create(http, [user(str(n)) for n in range(100)])
    assert len(set(ids_of(items_of(http, conversation)))) == 100


@pytest.mark.parametrize("own", ["msg_1", "a", "-", "_", "m" * 64, "rs_of_another_type", "0", "conv_" + "0" * 48])
def test_a_clients_id_is_kept(http, own):
    conversation = create(http, [user("hi", id=own)])
    assert ids_of(items_of(http, conversation)) == [own]
    assert texts_of([ok(http.get(f"/conversations/{conversation}/items/{own}"))]) == ["hi"]


def test_an_id_that_is_null_is_made(http):
    conversation = create(http, [user("hi", id=None)])
    assert re.fullmatch(r"msg_[0-9a-f]{48}", items_of(http, conversation)[0]["id"])


def test_ids_that_differ_in_case_alone_are_two(http):
    conversation = create(http, [user("lower", id="msg_a"), user("upper", id="MSG_A")])
    assert texts_of([ok(http.get(f"/conversations/{conversation}/items/MSG_A"))]) == ["upper"]


def assert_duplicate(answer, item_id):
    assert f"'{item_id}'" in refused(answer, 400, None, "items")


@pytest.mark.parametrize("place", [0, 10, 19])
def test_an_id_that_the_conversation_holds_is_refused_and_nothing_is_written(http, place):
    conversation = create(http, [user("a", id="msg_a"), user("b", id="msg_b")])
    batch = [user(str(n)) for n in range(20)]
    batch[place]["id"] = "msg_a"
    assert_duplicate(http.post(f"/conversations/{conversation}/items", json={"items": batch}), "msg_a")
    assert texts_of(items_of(http, conversation)) == ["a", "b"]


def test_an_id_that_was_made_cannot_be_sent_again(http):
    conversation = create(http, [user("a"), user("b")])
    items = items_of(http, conversation)
    assert_duplicate(http.post(f"/conversations/{conversation}/items", json={"items": items[:1]}), items[0]["id"])
    assert items_of(http, conversation) == items


def test_an_id_twice_in_a_batch_is_refused_and_nothing_is_written(http):
    conversation = create(http, [user("a")])
    batch = [user("x", id="msg_x"), user("y"), user("z", id="msg_x")]
    assert_duplicate(http.post(f"/conversations/{conversation}/items", json={"items": batch}), "msg_x")
    assert texts_of(items_of(http, conversation)) == ["a"]
    newest = newest_conversation(http)
    assert_duplicate(http.post("/conversations", json={"items": batch}), "msg_x")
    assert newest_conversation(http) == newest


def test_conversations_may_hold_the_same_id_and_keep_their_own_item(http):
    first = create(http, [user("in first", id="msg_same"), user("after")])
    second = create(http, [user("before"), user("in second", id="msg_same")])
    for conversation, text in ((first, "in first"), (second, "in second")):
        assert texts_of([ok(http.get(f"/conversations/{conversation}/items/msg_same"))]) == [text]
    assert texts_of(items_of(http, first)) == ["in first", "after"]
    ok(http.delete(f"/conversations/{first}/items/msg_same"))
    assert texts_of(items_of(http, first)) == ["after"]
    assert texts_of(items_of(http, second)) == ["before", "in second"]


def test_the_id_of_a_deleted_item_may_be_used_again_and_stands_where_it_was_added(http):
    conversation = create(http, [user("old", id="msg_a"), user("b")])
    ok(http.delete(f"/conversations/{conversation}/items/msg_a"))
    add(http, conversation, [user("new", id="msg_a")])
    assert texts_of(items_of(http, conversation)) == ["b", "new"]


# ------------------------------------------------------------------------------------------------ retrieve, delete


def test_one_item_is_retrieved_bare(http):
    conversation = create(http, [user("a"), user("b")])
    items = items_of(http, conversation)
    for item in items:
        assert ok(http.get(f"/conversations/{conversation}/items/{item['id']}")) == item


def test_deleting_an_item_answers_with_the_conversation(http):
    made = ok(http.post("/conversations", json={"metadata": {"k": "v"}, "items": [user("a"), user("b"), user("c")]}))
    middle = items_of(http, made["id"])[1]["id"]
    assert ok(http.delete(f"/conversations/{made['id']}/items/{middle}")) == made
    assert texts_of(items_of(http, made["id"])) == ["a", "c"]


def test_a_deleted_item_is_gone(http):
    conversation = create(http, [user("a", id="msg_a")])
    url = f"/conversations/{conversation}/items/msg_a"
    ok(http.delete(url))
    for answer in (http.get(url), http.delete(url)):
        assert refused(answer, 404) == "Item with id 'msg_a' not found in conversation."
    assert page(http, conversation)["data"] == []


def test_the_last_items_can_be_taken_away_one_after_the_other(http):
    conversation = create(http, [user(str(n)) for n in range(5)])
    for left in range(4, -1, -1):
        (newest,) = page(http, conversation, limit=1)["data"]
        ok(http.delete(f"/conversations/{conversation}/items/{newest['id']}"))
        assert texts_of(items_of(http, conversation)) == [str(n) for n in range(left)]
    add(http, conversation, [user("anew")])
    assert texts_of(items_of(http, conversation)) == ["anew"]


def test_an_item_of_another_conversation_is_not_found(http):
    conversation, other = create(http, [user("a")]), create(http, [user("b", id="msg_b")])
    url = f"/conversations/{conversation}/items/msg_b"
    for answer in (http.get(url), http.delete(url)):
        assert refused(answer, 404) == "Item with id 'msg_b' not found in conversation."
    assert texts_of(items_of(http, other)) == ["b"]
