from __future__ import annotations

from typing import Protocol

import httpx2
import pytest

from llama_conversations.apis.webmethod import webmethod
from llama_conversations.server.parameters import MAX_QUERY_FIELDS
from llama_conversations.server.routes import bind
from llama_conversations.wire.answers import Json
from unit.server.toy import Echo, Note, Toys

DEFAULTS = {"limit": 20, "order": "desc", "after": None, "deep": None, "include": None, "metadata": None}


async def echoed(client: httpx2.AsyncClient, path: str) -> dict[str, object]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()["arguments"]


async def refused(client: httpx2.AsyncClient, path: str) -> tuple[str | None, str | None]:
    answer = await client.get(path)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    return error["code"], error["param"]


async def test_what_is_not_given_has_the_protocols_default_whatever_the_implementations_is(client):
    assert await echoed(client, "/v1/toys") == DEFAULTS


async def test_scalars_of_the_query_get_their_types(client):
    found = await echoed(client, "/v1/toys?limit=100&order=asc&after=x%20y&deep=true")
    assert found == DEFAULTS | {"limit": 100, "order": "asc", "after": "x y", "deep": True}


@pytest.mark.parametrize(("text", "flag"), [("true", True), ("false", False), ("1", True), ("0", False)])
async def test_a_boolean_of_the_query_is_a_word_or_a_digit(client, text, flag):
    assert (await echoed(client, f"/v1/toys?deep={text}"))["deep"] is flag


async def test_an_integer_of_the_query_may_be_negative_and_have_leading_zeros(client):
    assert await echoed(client, "/v1/toys/best?since=-3") == {"since": -3}
    assert await echoed(client, "/v1/toys/best?since=-007") == {"since": -7}


async def test_a_number_that_is_none_is_refused_in_the_words_for_a_wrong_type(client):
    error = (await client.get("/v1/toys?limit=5.0")).json()["error"]
    assert error["message"] == "Invalid type for 'limit': expected an integer, but got a string instead."


@pytest.mark.parametrize(
    "query",
    ["include[]=size&include[]=colour", "include=size&include=colour", "include[0]=size&include[1]=colour",
     "include%5B%5D=size&include%5B%5D=colour"],
)  # fmt: skip
async def test_a_list_may_be_written_with_or_without_brackets(client, query):
    assert (await echoed(client, f"/v1/toys?{query}"))["include"] == ["size", "colour"]


async def test_a_mapping_is_written_with_a_key_in_brackets(client):
    found = await echoed(client, "/v1/toys?metadata[a]=1&metadata[b%5Bc%5D]=2&metadata%5B%5D=3")
    assert found["metadata"] == {"a": "1", "b[c]": "2", "": "3"}


async def test_unknown_parameters_of_the_query_are_ignored(client):
    assert await echoed(client, "/v1/toys?beta=true&x[y]=z&limits=7") == DEFAULTS


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limit=0", "integer_below_min_value", "limit"),
        ("limit=-3", "integer_below_min_value", "limit"),
        ("limit=101", "integer_above_max_value", "limit"),
        ("limit=1000", "integer_above_max_value", "limit"),
        ("limit=x", "invalid_type", "limit"),
        ("limit=", "invalid_type", "limit"),
        ("limit=5.0", "invalid_type", "limit"),
        ("limit=5e0", "invalid_type", "limit"),
        ("limit=1_0", "invalid_type", "limit"),
        ("limit=0x5", "invalid_type", "limit"),
        ("limit=%2B5", "invalid_type", "limit"),
        ("limit=%205", "invalid_type", "limit"),
        ("limit=5%20", "invalid_type", "limit"),
        ("limit=5%0A", "invalid_type", "limit"),
        ("limit=--5", "invalid_type", "limit"),
        ("limit=%D9%A5", "invalid_type", "limit"),  # the Arabic digit five
        ("limit=true", "invalid_type", "limit"),
        (f"limit={'9' * 5000}", "invalid_type", "limit"),
        ("deep=yes", "invalid_type", "deep"),
        ("deep=on", "invalid_type", "deep"),
        ("deep=True", "invalid_type", "deep"),
        ("deep=%20true", "invalid_type", "deep"),
        ("deep=2", "invalid_type", "deep"),
        ("deep=", "invalid_type", "deep"),
        ("limit=1&limit=2", "invalid_type", "limit"),
        ("limit[]=1", "invalid_type", "limit"),
        ("order=up", "invalid_value", "order"),
        ("include[]=weight", "invalid_value", "include"),
        ("metadata=x", "invalid_type", "metadata"),
        ("metadata[a=x", "invalid_type", "metadata"),
        ("metadata[a]=x&metadata[a]=y", "invalid_type", "metadata"),
        ("after=%00", "invalid_value", "after"),
        ("metadata[%00]=x", "invalid_value", "metadata"),
        ("&".join(["x=1"] * (MAX_QUERY_FIELDS + 1)), "invalid_value", None),
    ],
)
async def test_a_bad_query_is_refused_with_the_apis_code_and_the_parameters_name(client, query, code, param):
    assert await refused(client, f"/v1/toys?{query}") == (code, param)


async def test_a_required_parameter_of_the_query_may_not_be_missing(client):
    assert await refused(client, "/v1/toys/best") == ("missing_required_parameter", "since")
    assert await echoed(client, "/v1/toys/best?since=3") == {"since": 3}


async def test_bytes_that_are_no_utf8_do_no_harm(client):
    assert (await echoed(client, "/v1/toys?after=%ff"))["after"] == "�"
    assert await echoed(client, "/v1/toys/%ff") == {"toy_id": "�"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/toys/a%20b", "a b"),
        ("/v1/toys/a%2Fb", "a/b"),
        ("/v1/toys/a%252Fb", "a%2Fb"),
        ("/v1/toys/%C3%A9", "é"),
        ("/v1/t%6Fys/x", "x"),
    ],
)
async def test_a_path_parameter_is_percent_decoded_once(client, path, found):
    assert await echoed(client, path) == {"toy_id": found}


async def test_a_path_parameter_may_take_slashes(client):
    assert await echoed(client, "/v1/files/a/b/c.gguf") == {"name": "a/b/c.gguf"}
    assert await echoed(client, "/v1/files/a%2Fb") == {"name": "a/b"}


async def test_a_path_parameter_with_a_null_character_is_refused(client):
    assert await refused(client, "/v1/toys/a%00b") == ("invalid_value", "toy_id")


async def test_a_path_parameter_of_another_type_is_parsed(client):
    answer = await client.delete("/v1/toys/t/parts/7")
    assert answer.json()["arguments"] == {"toy_id": "t", "number": 7}
    for text in ("seven", "+7", "7.0", "1_0", "%207"):
        answer = await client.delete(f"/v1/toys/t/parts/{text}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "number")


class _Echoing:
    async def get(self, **arguments: object) -> Json[Echo]:
        raise NotImplementedError


def test_a_route_that_names_a_parameter_which_its_method_lacks_is_a_programming_error():
    class Bad(Protocol):
        @webmethod(route="/bad/{bad_id}", method="GET")
        async def get(self) -> Json[Echo]: ...

    with pytest.raises(TypeError, match="bad_id"):
        bind(Bad, _Echoing())


def test_two_bodies_are_a_programming_error():
    class Bad(Protocol):
        @webmethod(route="/bad", method="POST")
        async def get(self, one: Note, two: Note) -> Json[Echo]: ...

    with pytest.raises(TypeError, match="more than one body: one, two"):
        bind(Bad, _Echoing())


def test_an_answer_of_no_declared_shape_is_a_programming_error():
    class Bad(Protocol):
        @webmethod(route="/bad", method="GET")
        async def get(self) -> str: ...

    with pytest.raises(TypeError, match="must be annotated to answer with Json"):
        bind(Bad, _Echoing())


def test_an_implementation_without_a_method_cannot_be_bound():
    with pytest.raises(TypeError, match=r"_Echoing lacks Toys\.list_toys"):
        bind(Toys, _Echoing())


def test_an_implementation_whose_parameters_differ_cannot_be_bound():
    class Good(Protocol):
        @webmethod(route="/good/{good_id}", method="GET")
        async def get(self, good_id: str) -> Json[Echo]: ...

    class Different:
        async def get(self, other_id: str) -> Json[Echo]:
            raise NotImplementedError

    with pytest.raises(TypeError, match=r"Different\.get does not take what Good\.get does: .*other_id"):
        bind(Good, Different())
