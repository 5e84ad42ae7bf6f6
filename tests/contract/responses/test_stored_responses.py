"""What is kept of a turn: retrieving, listing and deleting responses, and the items that the model was given."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.conversations import create, ids_of, items_of, texts_of, user
from harness.turns import WEATHER, input_items, post, stream, turn

UNKNOWN = "resp_" + "0" * 50


def listed(http: httpx2.Client, **query: object) -> dict[str, Any]:
    """A page of responses."""
    page: dict[str, Any] = ok(http.get("/responses", params=query))
    return page


@pytest.fixture
def long_input(http: httpx2.Client) -> str:
    """A response whose model was given 15 items: a conversation's, a turn's, and its own."""
    conversation_id = create(http, [user(f"item {number}") for number in range(8)])
    turn(http, "echo", "item 8", conversation=conversation_id)
    ids = items_of(http, conversation_id)
    own = [user(f"item {number}") for number in range(10, 15)]
    response_id: str = turn(http, "echo", own, conversation=conversation_id)["id"]
    assert len(ids) == 10
    return response_id


@pytest.mark.parametrize("store", [None, True, "absent"])
@pytest.mark.parametrize("take", [post, stream], ids=["plain", "streamed"])
def test_a_response_is_kept_unless_the_caller_declines(http: httpx2.Client, store: object, take: Any) -> None:
    fields = {} if store == "absent" else {"store": store}
    shown = take(http, "echo", "Hello", **fields)
    response = shown.response if take is stream else ok(shown)
    assert response["store"] is True
    assert ok(http.get(f"/responses/{response['id']}")) == response


@pytest.mark.parametrize("streamed", [False, True])
def test_store_false_leaves_nothing_that_can_be_retrieved(http: httpx2.Client, streamed: bool) -> None:
    response = stream(http, store=False).response if streamed else turn(http, store=False)
    assert response["store"] is False
    path = f"/responses/{response['id']}"
    said = f"Response with id '{response['id']}' not found."
    assert refused(http.get(path), 404) == said
    assert refused(http.get(f"{path}/input_items"), 404) == said
    assert refused(http.delete(path), 404) == said
    assert response["id"] not in ids_of(listed(http, limit=100)["data"])
    item = {"type": "item_reference", "id": response["output"][0]["id"]}
    refused(post(http, said=[item]), 404)


def test_store_false_leaves_no_items_that_a_conversation_does_not_hold(http: httpx2.Client) -> None:
    conversation_id = create(http)
    response = turn(http, "echo", "Hello", conversation=conversation_id, store=False)
    refused(http.get(f"/responses/{response['id']}"), 404)
    assert items_of(http, conversation_id)[1:] == response["output"]


@pytest.mark.parametrize("mode", ["echo", "tool", "reasoning", "refusal", "length", "unicode", "logprobs", "no-usage"])
def test_what_is_retrieved_is_what_was_shown(http: httpx2.Client, mode: str) -> None:
    turn(http, mode, "Hello", tools=[WEATHER], metadata={"k": "v"}, instructions="x", user="u")
    stream(http, mode, "Hello", tools=[WEATHER], metadata={"k": "v"}, instructions="x", user="u")


@pytest.mark.parametrize(
    "query", ["", "?include[]=message.output_text.logprobs", "?include=reasoning.encrypted_content"]
)
def test_a_response_is_retrieved_with_any_include(http: httpx2.Client, query: str) -> None:
    response = turn(http)
    assert ok(http.get(f"/responses/{response['id']}{query}")) == response


def test_an_unknown_include_is_refused(http: httpx2.Client) -> None:
    refused(http.get(f"/responses/{turn(http)['id']}?include[]=everything"), 400, "invalid_value", "include")


def test_stream_false_retrieves(http: httpx2.Client) -> None:
    response = turn(http)
    assert ok(http.get(f"/responses/{response['id']}", params={"stream": "false"})) == response


@pytest.mark.parametrize("response_id", [UNKNOWN, "resp_", "nonsense", "conv_" + "0" * 48, "a" * 500, "%27%20or%201=1"])
@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("DELETE", ""), ("GET", "/input_items")])
def test_an_unknown_response_is_not_found(http: httpx2.Client, response_id: str, method: str, suffix: str) -> None:
    refused(http.request(method, f"/responses/{response_id}{suffix}"), 404)


def test_deleting_a_response_answers_so_and_it_is_gone(http: httpx2.Client) -> None:
    response_id = turn(http)["id"]
    answer = ok(http.delete(f"/responses/{response_id}"))
    assert answer == {"id": response_id, "object": "response.deleted", "deleted": True}
    refused(http.get(f"/responses/{response_id}"), 404)
    refused(http.get(f"/responses/{response_id}/input_items"), 404)
    refused(http.delete(f"/responses/{response_id}"), 404)
    assert response_id not in ids_of(listed(http, limit=100)["data"])


def test_deleting_a_response_leaves_its_conversation_as_it_was(http: httpx2.Client) -> None:
    conversation_id = create(http)
    response = turn(http, "echo", "Hello", conversation=conversation_id)
    before = items_of(http, conversation_id)
    ok(http.delete(f"/responses/{response['id']}"))
    assert items_of(http, conversation_id) == before
    assert len(turn(http, "echo", "Again", conversation=conversation_id)["output"]) == 1


def test_deleting_a_conversation_leaves_its_responses_retrievable(http: httpx2.Client) -> None:
    conversation_id = create(http, [user("Before")])
    response = turn(http, "echo", "Hello", conversation=conversation_id)
    ok(http.delete(f"/conversations/{conversation_id}"))
    assert ok(http.get(f"/responses/{response['id']}")) == response
    assert response["conversation"] == {"id": conversation_id}
    assert texts_of(input_items(http, response["id"])) == ["Hello"]


def test_a_response_of_a_deleted_conversation_can_be_continued_by_what_it_holds_itself(http: httpx2.Client) -> None:
    conversation_id = create(http, [user("Before")])
    response = turn(http, "echo", "Hello", conversation=conversation_id)
    ok(http.delete(f"/conversations/{conversation_id}"))
    following = turn(http, "echo", "Again", previous_response_id=response["id"])
    assert texts_of(input_items(http, following["id"])) == ["Hello", "seen=2 last=Hello", "Again"]


def test_input_items_are_the_whole_context(http: httpx2.Client, long_input: str) -> None:
    assert texts_of(input_items(http, long_input)) == [
        *(f"item {number}" for number in range(9)),
        "seen=9 last=item 8",
        *(f"item {number}" for number in range(10, 15)),
    ]


def test_input_items_leave_out_instructions(http: httpx2.Client) -> None:
    response = turn(http, "echo", "Hello", instructions="Be brief.")
    assert texts_of(input_items(http, response["id"])) == ["Hello"]


def test_input_items_leave_out_what_came_later(http: httpx2.Client) -> None:
    conversation_id = create(http)
    first = turn(http, "echo", "One", conversation=conversation_id)
    turn(http, "echo", "Two", conversation=conversation_id)
    assert texts_of(input_items(http, first["id"])) == ["One"]


def test_input_items_come_newest_first_by_default_and_twenty_at_a_time(http: httpx2.Client) -> None:
    response = turn(http, "echo", [user(f"item {number}") for number in range(25)])
    page = ok(http.get(f"/responses/{response['id']}/input_items"))
    assert texts_of(page["data"]) == [f"item {number}" for number in range(24, 4, -1)]
    assert (page["object"], page["has_more"]) == ("list", True)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 7, 15, 100])
def test_input_items_page_fully(http: httpx2.Client, long_input: str, limit: int, order: str) -> None:
    seen: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        query = {"limit": limit, "order": order, **after}
        page = ok(http.get(f"/responses/{long_input}/input_items", params=query))
        items = page["data"]
        assert (page["first_id"], page["last_id"]) == (items[0]["id"], items[-1]["id"])
        assert None not in ids_of(items)
        seen += items
        assert page["has_more"] == (len(seen) < 15)
        if not page["has_more"]:
            break
        assert len(items) == limit
        after = {"after": items[-1]["id"]}
    expected = input_items(http, long_input)
    assert seen == (expected if order == "asc" else expected[::-1])


def test_input_items_after_the_last_are_an_empty_page(http: httpx2.Client, long_input: str) -> None:
    last = input_items(http, long_input)[-1]["id"]
    page = ok(http.get(f"/responses/{long_input}/input_items", params={"order": "asc", "after": last}))
    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def test_input_items_of_an_empty_input_are_the_context_alone(http: httpx2.Client) -> None:
    first = turn(http, "echo", "Hello")
    second = turn(http, "echo", [], previous_response_id=first["id"])
    assert texts_of(input_items(http, second["id"])) == ["Hello", "seen=1 last=Hello"]


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ({"limit": 0}, "integer_below_min_value", "limit"),
        ({"limit": -3}, "integer_below_min_value", "limit"),
        ({"limit": 101}, "integer_above_max_value", "limit"),
        ({"limit": "x"}, "invalid_type", "limit"),
        ({"order": "up"}, "invalid_value", "order"),
        ({"after": "msg_unknown"}, "invalid_value", "after"),
    ],
)
@pytest.mark.parametrize("of", ["responses", "input_items"])
def test_a_page_that_cannot_be_is_refused(
    http: httpx2.Client, of: str, query: dict[str, object], code: str, param: str
) -> None:
    path = "/responses" if of == "responses" else f"/responses/{turn(http)['id']}/input_items"
    refused(http.get(path, params=query), 400, code, param)


def test_an_item_of_another_response_is_no_cursor(http: httpx2.Client, long_input: str) -> None:
    other = input_items(http, turn(http)["id"])[0]["id"]
    answer = http.get(f"/responses/{long_input}/input_items", params={"after": other})
    refused(answer, 400, "invalid_value", "after")


def test_input_items_hide_what_include_does_not_ask_for(http: httpx2.Client) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    response = turn(http, "echo", [user([{"type": "input_image", "image_url": url}])])
    [hidden] = input_items(http, response["id"])
    [shown] = input_items(http, response["id"], **{"include[]": "message.input_image.image_url"})
    assert hidden["content"] == [{"type": "input_image", "detail": "auto", "file_id": None, "image_url": None}]
    assert shown["content"][0]["image_url"] == url


def test_responses_are_listed_newest_first(http: httpx2.Client) -> None:
    ids = [turn(http)["id"] for _ in range(3)]
    page = listed(http, limit=3)
    assert (page["object"], ids_of(page["data"])) == ("list", ids[::-1])
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[2], ids[0], True)


def test_listed_responses_are_whole(http: httpx2.Client) -> None:
    response = turn(http, "reasoning", metadata={"k": "v"})
    assert listed(http, limit=1)["data"] == [response]


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_responses_page_fully_in_both_directions(http: httpx2.Client, limit: int, order: str) -> None:
    ids = [turn(http, "echo", "Hello")["id"] for _ in range(9)]
    expected = ids if order == "asc" else ids[::-1]
    seen = [expected[0]]
    while len(seen) < 9:
        seen += ids_of(listed(http, limit=limit, order=order, after=seen[-1])["data"])
    assert seen[:9] == expected
    back = [expected[-1]]
    while len(back) < 9:
        back = ids_of(listed(http, limit=limit, order=order, before=back[0])["data"]) + back
    assert back[-9:] == expected


def test_responses_are_listed_by_model(http: httpx2.Client) -> None:
    response = turn(http, "unicode")
    turn(http, "echo")
    page = listed(http, model="unicode", limit=1)
    assert page["data"] == [response]
    assert listed(http, model="no-such-model")["data"] == []


def test_after_and_before_exclude_each_other(http: httpx2.Client) -> None:
    response_id = turn(http)["id"]
    answer = http.get("/responses", params={"after": response_id, "before": response_id})
    refused(answer, 400, "mutually_exclusive_parameters")


def test_the_client_retrieves_lists_input_and_deletes(strict_client: OpenAI) -> None:
    response = strict_client.responses.create(model="echo", input="Hello")
    assert strict_client.responses.retrieve(response.id) == response
    items = list(strict_client.responses.input_items.list(response.id, limit=1))
    assert [item.role for item in items if item.type == "message"] == ["user"]
    strict_client.responses.delete(response.id)


def test_the_client_pages_through_all_input_items(strict_client: OpenAI, long_input: str) -> None:
    items = list(strict_client.responses.input_items.list(long_input, limit=4, order="asc"))
    assert len({item.id for item in items}) == 15
