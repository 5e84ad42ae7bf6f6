"""Listing items: order, limits, cursors; every item once, whatever the size of a page."""

from __future__ import annotations

import pytest

from harness.answers import ok, refused
from harness.conversations import BATCH, add, create, ids_of, items_of, page, pages, texts_of, user

MANY = 250


@pytest.fixture(scope="module")
def many(http):
    """A conversation of 250 items, which no test changes, and their ids in order."""
    conversation = create(http, [user(str(n)) for n in range(MANY)])
    items = items_of(http, conversation)
    assert texts_of(items) == [str(n) for n in range(MANY)]
    return conversation, ids_of(items)


def test_a_page_has_20_items_newest_first_unless_asked_otherwise(http, many):
    conversation, ids = many
    answer = page(http, conversation)
    assert answer.keys() == {"object", "data", "first_id", "last_id", "has_more"}
    assert answer["object"] == "list"
    assert ids_of(answer["data"]) == ids[::-1][:20]
    assert answer["has_more"] is True


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 7, 20, 99, 100])
def test_paging_yields_every_item_once_and_in_order(http, many, order, limit):
    conversation, ids = many
    read: list[str] = []
    for answer in pages(http, conversation, order=order, limit=limit):
        here = ids_of(answer["data"])
        assert (answer["first_id"], answer["last_id"]) == (here[0], here[-1])
        assert len(here) == limit or not answer["has_more"]
        read += here
    assert read == (ids if order == "asc" else ids[::-1])


def test_descending_is_the_exact_reverse_of_ascending(http, many):
    conversation, ids = many
    assert ids_of(items_of(http, conversation, order="desc")) == ids[::-1]


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_a_last_page_that_is_full_has_no_more(http, size):
    conversation = create(http, [user(str(n)) for n in range(6)])
    answers = list(pages(http, conversation, order="asc", limit=size))
    assert [len(answer["data"]) for answer in answers] == [size] * (6 // size)
    assert [answer["has_more"] for answer in answers] == [True] * (6 // size - 1) + [False]


def test_a_limit_of_100_gives_100(http, many):
    conversation, ids = many
    answer = page(http, conversation, limit=100, order="asc")
    assert ids_of(answer["data"]) == ids[:100]


def test_an_empty_list_has_no_ids_and_no_more(http):
    conversation = create(http)
    empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    for order in ("asc", "desc"):
        assert page(http, conversation, order=order) == empty
    add(http, conversation, [user("only")])
    (only,) = ids_of(items_of(http, conversation))
    for order in ("asc", "desc"):
        assert page(http, conversation, order=order, after=only) == empty


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_an_item_deleted_in_the_middle_is_left_out_of_the_pages(http, order):
    conversation = create(http, [user(str(n)) for n in range(30)])
    ids = ids_of(items_of(http, conversation))
    for place in (13, 14, 0, 29):
        ok(http.delete(f"/conversations/{conversation}/items/{ids[place]}"))
    left = [item for place, item in enumerate(ids) if place not in {13, 14, 0, 29}]
    for limit in (1, 2, 7, 13, 26, 100):
        read = ids_of(items_of(http, conversation, order=order, limit=limit))
        assert read == (left if order == "asc" else left[::-1])


def test_an_item_deleted_between_two_pages_moves_nothing(http):
    conversation = create(http, [user(str(n)) for n in range(10)])
    ids = ids_of(items_of(http, conversation))
    first = page(http, conversation, order="asc", limit=4)
    for gone in (ids[1], ids[5]):
        ok(http.delete(f"/conversations/{conversation}/items/{gone}"))
    second = page(http, conversation, order="asc", limit=4, after=first["last_id"])
    assert ids_of(second["data"]) == [ids[4], ids[6], ids[7], ids[8]]


def test_items_added_between_two_pages_come_behind(http):
    conversation = create(http, [user(str(n)) for n in range(5)])
    first = page(http, conversation, order="asc", limit=5)
    assert first["has_more"] is False
    add(http, conversation, [user(str(n)) for n in range(5, 5 + BATCH)])
    rest = page(http, conversation, order="asc", limit=100, after=first["last_id"])
    assert texts_of(rest["data"]) == [str(n) for n in range(5, 5 + BATCH)]


# ---------------------------------------------------------------------------------------------------------- cursors


def test_a_cursor_of_another_conversation_is_refused(http, many):
    _, ids = many
    conversation = create(http, [user("a")])
    message = refused(http.get(f"/conversations/{conversation}/items?after={ids[3]}"), 400, "invalid_value", "after")
    assert ids[3] in message


@pytest.mark.parametrize("after", ["msg_unknown", "", "msg_" + "0" * 48, "conv_1", "' OR 1=1 --", "%25", "é"])
def test_an_unknown_cursor_is_refused(http, many, after):
    conversation, _ = many
    answer = http.get(f"/conversations/{conversation}/items", params={"after": after})
    refused(answer, 400, "invalid_value", "after")


def test_a_deleted_cursor_is_refused(http):
    conversation = create(http, [user("a"), user("b"), user("c")])
    _, b, _ = ids_of(items_of(http, conversation))
    ok(http.delete(f"/conversations/{conversation}/items/{b}"))
    refused(http.get(f"/conversations/{conversation}/items?after={b}"), 400, "invalid_value", "after")


def test_a_cursor_that_several_conversations_hold_is_that_of_the_one_that_is_listed(http):
    first = create(http, [user("a"), user("b", id="msg_same"), user("c"), user("d")])
    second = create(http, [user("e"), user("f"), user("g", id="msg_same"), user("h")])
    assert texts_of(page(http, first, order="asc", after="msg_same")["data"]) == ["c", "d"]
    assert texts_of(page(http, second, order="asc", after="msg_same")["data"]) == ["h"]
    assert texts_of(page(http, second, order="desc", after="msg_same")["data"]) == ["f", "e"]


# ------------------------------------------------------------------------------------------------- limit and order


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("0", "integer_below_min_value"),
        ("-1", "integer_below_min_value"),
        ("-3", "integer_below_min_value"),
        ("101", "integer_above_max_value"),
        ("1000", "integer_above_max_value"),
        ("9" * 40, "integer_above_max_value"),
        ("x", "invalid_type"),
        ("", "invalid_type"),
        ("1.5", "invalid_type"),
        ("null", "invalid_type"),
        ("true", "invalid_type"),
        ("1e1", "invalid_type"),
        ("0x10", "invalid_type"),
        ("9" * 5000, "invalid_type"),
    ],
)
def test_a_limit_out_of_bounds_is_refused(http, many, limit, code):
    conversation, _ = many
    answer = http.get(f"/conversations/{conversation}/items", params={"limit": limit})
    refused(answer, 400, code, "limit")
    refused(http.get("/conversations", params={"limit": limit}), 400, code, "limit")


@pytest.mark.parametrize("order", ["", "ASC", "ascending", "asc ", "1", "null"])
def test_an_unknown_order_is_refused(http, many, order):
    conversation, _ = many
    message = refused(
        http.get(f"/conversations/{conversation}/items", params={"order": order}), 400, "invalid_value", "order"
    )
    assert "'asc' and 'desc'" in message


def test_a_parameter_that_stands_twice_is_refused(http, many):
    conversation, ids = many
    refused(http.get(f"/conversations/{conversation}/items?limit=1&limit=2"), 400, "invalid_type", "limit")
    refused(
        http.get(f"/conversations/{conversation}/items?after={ids[0]}&after={ids[1]}"), 400, "invalid_type", "after"
    )


def test_a_query_parameter_that_nobody_knows_is_ignored(http, many):
    conversation, ids = many
    assert ids_of(page(http, conversation, limit=1, foo="bar", before="x")["data"]) == ids[-1:]


def test_parameters_are_refused_before_the_conversation_is_looked_for(http):
    refused(http.get(f"/conversations/conv_{'0' * 48}/items?limit=0"), 400, "integer_below_min_value", "limit")
