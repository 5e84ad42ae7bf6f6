"""Creating, reading, updating and deleting conversations."""

from __future__ import annotations

import re
import time

import pytest

from harness.answers import ok, refused
from harness.conversations import create, ids_of, items_of, texts_of, user

UNKNOWN = "conv_" + "0" * 48


# ---------------------------------------------------------------------------------------------------------- create


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"{}", b'{"items":[]}', b'{"items":null}', b'{"metadata":null}', b'{"metadata":{},"items":[]}'],
    ids=lambda body: body.decode(),
)
def test_a_conversation_is_created_from_any_body_that_asks_for_nothing(http, body):
    before = int(time.time())
    made = ok(http.post("/conversations", content=body))
    assert made.keys() == {"id", "object", "created_at", "metadata"}
    assert re.fullmatch(r"conv_[0-9a-f]{48}", made["id"])
    assert made["object"] == "conversation"
    assert type(made["created_at"]) is int
    assert before <= made["created_at"] <= time.time()
    assert made["metadata"] == {}
    assert items_of(http, made["id"]) == []


def test_a_body_that_is_null_is_no_object(http):
    assert "null" in refused(http.post("/conversations", content=b"null"), 400, "invalid_type")


@pytest.mark.parametrize("body", [b"[]", b'"{}"', b"1", b"true"])
def test_a_body_that_is_no_object_is_refused(http, body):
    refused(http.post("/conversations", content=body), 400, "invalid_type")


def test_a_body_is_taken_for_json_whatever_its_content_type_says(http):
    for content_type in ("text/plain", "application/octet-stream", "application/json; charset=latin-1", ""):
        made = http.post(
            "/conversations", content=b'{"metadata":{"a":"\xc3\xa9"}}', headers={"content-type": content_type}
        )
        assert ok(made)["metadata"] == {"a": "é"}


def test_a_conversation_is_created_with_metadata_and_items_in_their_order(http):
    made = ok(
        http.post(
            "/conversations",
            json={"metadata": {"topic": "démo"}, "items": [user(f"m{n}") for n in range(20)]},
        )
    )
    assert made["metadata"] == {"topic": "démo"}
    assert texts_of(items_of(http, made["id"])) == [f"m{n}" for n in range(20)]


def test_two_conversations_have_two_ids_and_two_partitions(http):
    first, second = create(http), create(http)
    assert first != second
    assert first[5:13] != second[5:13]


@pytest.mark.parametrize("key", ["conversation", "id", "Metadata", "item", "expires_after"])
def test_an_unknown_key_is_refused_by_name(http, key):
    assert f"'{key}'" in refused(http.post("/conversations", json={key: None}), 400, "unknown_parameter", key)
    conversation = create(http)
    url = f"/conversations/{conversation}"
    refused(http.post(url, json={"metadata": {}, key: 1}), 400, "unknown_parameter", key)
    refused(http.post(f"{url}/items", json={"items": [], key: 1}), 400, "unknown_parameter", key)


# ------------------------------------------------------------------------------------------------ retrieve, update


def test_what_was_created_is_what_is_retrieved(http):
    made = ok(http.post("/conversations", json={"metadata": {"a": "1", "b": ""}}))
    assert ok(http.get(f"/conversations/{made['id']}")) == made


def test_an_update_replaces_the_metadata_as_a_whole(http):
    made = ok(http.post("/conversations", json={"metadata": {"a": "1", "b": "2"}}))
    updated = ok(http.post(f"/conversations/{made['id']}", json={"metadata": {"b": "3", "c": "4"}}))
    assert updated == made | {"metadata": {"b": "3", "c": "4"}}
    assert ok(http.get(f"/conversations/{made['id']}")) == updated


@pytest.mark.parametrize("empty", [None, {}])
def test_an_update_with_nothing_empties_the_metadata(http, empty):
    conversation = create(http, metadata={"a": "1"})
    assert ok(http.post(f"/conversations/{conversation}", json={"metadata": empty}))["metadata"] == {}
    assert ok(http.get(f"/conversations/{conversation}"))["metadata"] == {}


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_an_update_needs_metadata(http, body):
    url = f"/conversations/{create(http, metadata={'a': '1'})}"
    answer = http.post(url, content=body)
    if body:
        refused(answer, 400, "missing_required_parameter", "metadata")
    else:
        refused(answer, 400, "invalid_json")
    assert ok(http.get(url))["metadata"] == {"a": "1"}


def test_an_update_leaves_the_items_alone(http):
    conversation = create(http, [user("a"), user("b")])
    before = items_of(http, conversation)
    ok(http.post(f"/conversations/{conversation}", json={"metadata": {"k": "v"}}))
    assert items_of(http, conversation) == before


# -------------------------------------------------------------------------------------------------------- metadata

LIMITS = {
    "16 pairs": {f"k{n}": "v" for n in range(16)},
    "key of 64": {"k" * 64: "v"},
    "key of 64 wide characters": {"🗝" * 64: "v"},
    "value of 512": {"k": "v" * 512},
    "value of 512 wide characters": {"k": "値" * 512},
    "empty key and value": {"": ""},
    "what looks like a path": {"a.b[0]": "x", "__proto__": "y", "'; DROP TABLE conversations; --": "z"},
    "control characters": {"a\x00b": "\x00\x01\x1f\x7f", "\n": "\r\n\t"},
    "any unicode": {"ключ": "값", "👩‍👩‍👧": "\u202e\ufeff\U0010ffff", "e\u0301": "\u00e9"},
}

BEYOND = {
    "17 pairs": ({f"k{n}": "v" for n in range(17)}, "object_above_max_properties", "metadata"),
    "17 pairs, all bad": ({f"k{n}": 1 for n in range(17)}, "object_above_max_properties", "metadata"),
    "key of 65": ({"a": "v", "k" * 65: "v"}, "property_name_above_max_length", "metadata." + "k" * 65),
    "value of 513": ({"a": "v", "k": "v" * 513}, "string_above_max_length", "metadata.k"),
    "number": ({"k": 1}, "invalid_type", "metadata.k"),
    "null value": ({"k": None}, "invalid_type", "metadata.k"),
    "boolean": ({"k": True}, "invalid_type", "metadata.k"),
    "object": ({"k": {}}, "invalid_type", "metadata.k"),
    "array": ({"k": []}, "invalid_type", "metadata.k"),
    "an array for metadata": ([], "invalid_type", "metadata"),
    "a string for metadata": ("{}", "invalid_type", "metadata"),
}


@pytest.mark.parametrize("metadata", LIMITS.values(), ids=LIMITS)
def test_metadata_within_its_limits_is_kept_as_it_came(http, metadata):
    conversation = create(http, metadata=metadata)
    assert ok(http.get(f"/conversations/{conversation}"))["metadata"] == metadata
    other = create(http)
    assert ok(http.post(f"/conversations/{other}", json={"metadata": metadata}))["metadata"] == metadata
    assert ok(http.get(f"/conversations/{other}"))["metadata"] == metadata


@pytest.mark.parametrize(("metadata", "code", "param"), BEYOND.values(), ids=BEYOND)
def test_metadata_beyond_its_limits_is_refused_and_nothing_is_written(http, metadata, code, param):
    mark = {"test": f"beyond {code} {param} {metadata!r}"[:500]}
    conversation = create(http, metadata=mark)
    refused(http.post(f"/conversations/{conversation}", json={"metadata": metadata}), 400, code, param)
    assert ok(http.get(f"/conversations/{conversation}"))["metadata"] == mark
    newest = ok(http.get("/conversations", params={"limit": 1}))["data"]
    refused(http.post("/conversations", json={"metadata": metadata, "items": [user("x")]}), 400, code, param)
    assert ok(http.get("/conversations", params={"limit": 1}))["data"] == newest


def test_of_a_key_that_stands_twice_the_last_one_counts(http):
    made = ok(http.post("/conversations", content=b'{"metadata":{"k":"first","k":"last"}}'))
    assert made["metadata"] == {"k": "last"}


# ---------------------------------------------------------------------------------------------------------- delete


def test_a_deletion_says_so(http):
    conversation = create(http)
    assert ok(http.delete(f"/conversations/{conversation}")) == {
        "id": conversation,
        "object": "conversation.deleted",
        "deleted": True,
    }


def test_after_a_deletion_every_route_answers_not_found(http):
    conversation = create(http, [user("a"), user("b")])
    item = items_of(http, conversation)[0]["id"]
    other = create(http)
    ok(http.delete(f"/conversations/{conversation}"))
    url = f"/conversations/{conversation}"
    for answer in (
        http.get(url),
        http.post(url, json={"metadata": {"k": "v"}}),
        http.delete(url),
        http.get(f"{url}/items"),
        http.get(f"{url}/items", params={"after": item}),
        http.post(f"{url}/items", json={"items": [user("c")]}),
        http.post(f"{url}/items", json={"items": []}),
        http.get(f"{url}/items/{item}"),
        http.delete(f"{url}/items/{item}"),
    ):
        assert refused(answer, 404) == f"Conversation with id '{conversation}' not found."
    assert items_of(http, other) == []


def test_a_deleted_conversations_items_cannot_be_referred_to(http):
    conversation = create(http, [user("secret")])
    (item,) = ids_of(items_of(http, conversation))
    ok(http.delete(f"/conversations/{conversation}"))
    other = create(http)
    answer = http.post(f"/conversations/{other}/items", json={"items": [{"type": "item_reference", "id": item}]})
    assert refused(answer, 404) == f"Item with id '{item}' not found."


def test_a_deletion_leaves_other_conversations_alone(http):
    kept = create(http, [user("kept", id="msg_same")])
    gone = create(http, [user("gone", id="msg_same")])
    ok(http.delete(f"/conversations/{gone}"))
    assert texts_of(items_of(http, kept)) == ["kept"]


@pytest.mark.parametrize("conversation", [UNKNOWN, "conv_1", "nonsense", "resp_" + "0" * 50])
def test_an_unknown_conversation_is_not_found_on_any_route(http, conversation):
    url = f"/conversations/{conversation}"
    for answer in (
        http.get(url),
        http.post(url, json={"metadata": {}}),
        http.delete(url),
        http.get(f"{url}/items"),
        http.post(f"{url}/items", json={"items": [user("x")]}),
        http.post(f"{url}/items", json={"items": [user("x", id="msg_own")]}),
        http.get(f"{url}/items/msg_1"),
        http.delete(f"{url}/items/msg_1"),
    ):
        assert refused(answer, 404) == f"Conversation with id '{conversation}' not found."
