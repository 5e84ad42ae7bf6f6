"""``GET /conversations``, which the hosted API lacks: order, cursors both ways, filter by metadata."""

from __future__ import annotations

import asyncio
import secrets

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, ids_of, user


@pytest.fixture
def tag():
    """A pair that no other test's conversations have."""
    return {"tag": secrets.token_hex(8)}


def listed(http, metadata, **query):
    filters = {f"metadata[{key}]": value for key, value in metadata.items()}
    return ok(http.get("/conversations", params={**filters, **query}))


def all_ids(http, metadata, **query):
    ids: list[str] = []
    while True:
        answer = listed(http, metadata, **query)
        here = ids_of(answer["data"])
        assert (answer["first_id"], answer["last_id"]) == ((here[0], here[-1]) if here else (None, None))
        ids += here
        if not answer["has_more"]:
            return ids
        query["after"] = answer["last_id"]


@pytest.fixture
def nine(http, tag):
    """Nine conversations with the tag, oldest first."""
    return [create(http, metadata=tag) for _ in range(9)]


def test_an_empty_server_lists_nothing(new_server):
    with new_server().start().http() as http:
        empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        assert ok(http.get("/conversations")) == empty
        assert ok(http.get("/conversations", params={"metadata[a]": "b", "order": "asc"})) == empty


def test_the_newest_comes_first_and_entries_are_conversations(http):
    first = ok(http.post("/conversations", json={"metadata": {"n": "1"}, "items": [user("a")]}))
    second = ok(http.post("/conversations", json={"metadata": {"n": "2"}}))
    answer = ok(http.get("/conversations", params={"limit": 2}))
    assert answer["data"] == [second, first]
    assert answer.keys() == {"object", "data", "first_id", "last_id", "has_more"}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 4, 9, 100])
def test_paging_yields_every_conversation_once_and_in_order(http, tag, nine, order, limit):
    assert all_ids(http, tag, order=order, limit=limit) == (nine if order == "asc" else nine[::-1])


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_before_gives_the_page_that_ends_right_before_the_cursor_in_the_same_order(http, tag, nine, order):
    ids = nine if order == "asc" else nine[::-1]
    answer = listed(http, tag, order=order, limit=3, before=ids[7])
    assert ids_of(answer["data"]) == ids[4:7]
    assert (answer["first_id"], answer["last_id"], answer["has_more"]) == (ids[4], ids[6], True)
    answer = listed(http, tag, order=order, limit=3, before=ids[3])
    assert ids_of(answer["data"]) == ids[:3]
    assert answer["has_more"] is False
    assert listed(http, tag, order=order, before=ids[0])["data"] == []


def test_going_forth_and_back_shows_the_same_pages(http, tag, nine):
    first = listed(http, tag, limit=4)
    second = listed(http, tag, limit=4, after=first["last_id"])
    assert listed(http, tag, limit=4, before=second["first_id"])["data"] == first["data"]


def test_two_cursors_are_refused(http, nine):
    answer = http.get("/conversations", params={"after": nine[0], "before": nine[1]})
    refused(answer, 400, "mutually_exclusive_parameters")


@pytest.mark.parametrize("side", ["after", "before"])
@pytest.mark.parametrize("cursor", ["conv_" + "0" * 48, "", "msg_1", "'", "%"])
def test_an_unknown_cursor_is_refused(http, side, cursor):
    refused(http.get("/conversations", params={side: cursor}), 400, "invalid_value", side)


def test_a_deleted_cursor_is_refused(http, nine):
    ok(http.delete(f"/conversations/{nine[4]}"))
    refused(http.get("/conversations", params={"after": nine[4]}), 400, "invalid_value", "after")


def test_a_deleted_conversation_is_no_longer_listed(http, tag, nine):
    ok(http.delete(f"/conversations/{nine[4]}"))
    assert all_ids(http, tag, order="asc", limit=2) == nine[:4] + nine[5:]


def test_an_unknown_order_is_refused(http):
    refused(http.get("/conversations", params={"order": "newest"}), 400, "invalid_value", "order")


# ----------------------------------------------------------------------------------------------------------- filter


def test_several_pairs_must_all_be_there(http, tag):
    both = create(http, metadata=tag | {"a": "1", "b": "2", "c": "3"})
    create(http, metadata=tag | {"a": "1", "b": "3"})
    create(http, metadata=tag | {"b": "2"})
    create(http, metadata={"a": "1", "b": "2"})
    assert all_ids(http, tag | {"a": "1", "b": "2"}) == [both]
    assert all_ids(http, tag | {"a": "1", "b": "2", "z": ""}) == []


def test_the_filter_works_before_the_limit(http, tag):
    wanted = [create(http, metadata=tag | {"w": "y" if n % 5 == 0 else "n"}) for n in range(21)][::5]
    assert ids_of(listed(http, tag | {"w": "y"}, limit=5, order="asc")["data"]) == wanted
    assert all_ids(http, tag | {"w": "y"}, limit=2, order="asc") == wanted


def test_an_update_changes_what_the_filter_finds(http, tag):
    conversation = create(http, metadata=tag | {"state": "open"})
    ok(http.post(f"/conversations/{conversation}", json={"metadata": tag | {"state": "closed"}}))
    assert all_ids(http, tag | {"state": "open"}) == []
    assert all_ids(http, tag | {"state": "closed"}) == [conversation]


ODD = [
    ("k", "1"),
    ("k", "01"),
    ("k", "1.0"),
    ("k", "true"),
    ("k", "null"),
    ("k", ""),
    ("", "v"),
    ("ключ", "значение"),
    ("👩‍👩‍👧", "é"),
    ("👩‍👩‍👧", "e\u0301"),
    ("a'b", "c'd"),
    ('a"b', 'c"d'),
    ("a\\b", "c\\d"),
    ("a\\u0041", "\\u0041"),
    ("a.b", "$.a"),
    ("$", "$"),
    ("a[b]", "[c]"),
    ("a]b", "]"),
    ("100%", "%"),
    ("_", "_"),
    ("a b", " c "),
    ("a+b", "+"),
    ("a&b=c", "&="),
    ("a#b", "?#"),
    ("\n", "\t\r\n"),
    ("k" * 64, "値" * 512),
    ("'; DROP TABLE conversations; --", "x"),
    ("k", "' OR '1'='1"),
    ("k') OR 1=1 --", "1"),
    ("k", '"} , {"x":"'),
]


def test_odd_keys_and_values_are_found_exactly(http, tag):
    made = [create(http, metadata=tag | {key: value}) for key, value in ODD]
    found = [all_ids(http, tag | {key: value}) for key, value in ODD]
    assert found == [[conversation] for conversation in made]
    assert all_ids(http, tag, order="asc") == made


@pytest.mark.parametrize("value", ["%", "_", "*", "1' OR '1'='1", '"', "{}", "\\", "K", "k ", " k", "k%"])
def test_no_value_is_a_pattern_or_a_statement(http, tag, value):
    create(http, metadata=tag | {"x": "k"})
    assert all_ids(http, tag | {"x": value}) == []


@pytest.mark.parametrize(
    "query", ["metadata=x", "metadata[a=x", "metadata[a]=1&metadata[a]=2", "metadata[a]x=1", "metadata]a[=1"]
)
def test_a_filter_of_another_form_is_refused(http, query):
    answer = http.get(f"/conversations?{query}")
    if query == "metadata]a[=1":  # that is no parameter which this list knows
        ok(answer)
    else:
        refused(answer, 400, "invalid_type", "metadata")


def test_a_filter_with_a_null_character_is_refused(http):
    refused(http.get("/conversations?metadata[a]=%00"), 400, "invalid_value", "metadata")
    refused(http.get("/conversations?metadata[%00]=a"), 400, "invalid_value", "metadata")


def test_a_conversation_whose_metadata_has_null_characters_hinders_no_filter(http, tag):
    conversation = create(http, metadata=tag | {"a\x00b": "\x00"})
    assert all_ids(http, tag) == [conversation]


def test_hundreds_of_filters_are_refused(http):
    refused(http.get("/conversations", params={f"metadata[{n}]": "x" for n in range(300)}), 400, "invalid_value")


async def test_conversations_created_at_once_are_listed_once_each(http, server, tag):
    async with httpx2.AsyncClient(base_url=server.base_url, timeout=60) as many:
        sent = [many.post("/conversations", json={"metadata": tag}) for _ in range(60)]
        made = [ok(answer)["id"] for answer in await asyncio.gather(*sent)]
    ascending = all_ids(http, tag, order="asc", limit=7)
    assert sorted(ascending) == sorted(made)
    assert all_ids(http, tag, order="desc", limit=11) == ascending[::-1]
