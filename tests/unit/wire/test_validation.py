"""Bodies and parameters that do not fit: the API's codes, the field's path, plain words."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, TypeAdapter, ValidationError

from llama_conversations.errors import InvalidParameter
from llama_conversations.wire import validation
from llama_conversations.wire.base import UNION_TAG, JsonValue, Limit, Metadata, OpenModel, RequestModel
from llama_conversations.wire.conversations import CreateConversation, CreateItems, UpdateConversation
from llama_conversations.wire.include import INCLUDABLE, Include, IncludeList
from llama_conversations.wire.unions import Array, ByJsonType, ByKey
from llama_conversations.wire.validation import invalid_parameter, parse_body, parse_json, parse_value
from unit.wire.item_samples import REQUIRED


class Cat(OpenModel):
    type: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(OpenModel):
    type: Literal["dog"]


def _by_hand(value: object) -> str | None:
    found = value.get("type") if isinstance(value, dict) else None
    return UNION_TAG + found if isinstance(found, str) else None


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("expected an even number")
    return value


class Inner(RequestModel):
    flag: bool | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")


class Body(RequestModel):
    """A body with a field of every kind."""

    name: str | None = None
    input: str
    model: str
    count: Annotated[int, Field(ge=1, le=10)] | None = None
    above: Annotated[int, Field(gt=0, lt=5)] | None = None
    ratio: Annotated[float, Field(ge=0, le=2)] | None = None
    flag: bool | None = None
    word: Annotated[str, StringConstraints(min_length=2, max_length=5, pattern="^[a-z]+$")] | None = None
    mode: Literal["auto", "none", "required"] | None = None
    either: Literal["a", "b"] | None = None
    even: Annotated[int, AfterValidator(_even)] | None = None
    list: Annotated[Array[str], Field(min_length=1, max_length=2)] | None = None
    pairs: Annotated[dict[str, int], Field(min_length=1, max_length=2)] | None = None
    pet: Annotated[Cat | Dog, ByKey("type")] | None = None
    beast: (
        Annotated[
            Annotated[Cat, Tag(UNION_TAG + "cat")] | Annotated[Dog, Tag(UNION_TAG + "dog")], Discriminator(_by_hand)
        ]
        | None
    ) = None
    guess: int | Array[Cat] | None = None
    text: Annotated[str | Array[str], ByJsonType()] | None = None
    where: Annotated[Literal["here"] | Inner, ByJsonType()] | None = None
    inner: Inner | None = None
    include: IncludeList | None = None
    metadata: Metadata | None = None
    nothing: None = None
    yes: Literal[True] | None = None


def refused(body: object, model: type[RequestModel] = Body) -> InvalidParameter:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidParameter) as caught:
        parse_body(model, text)
    return caught.value


def refused_with(**fields: object) -> tuple[str | None, str | None, str]:
    error = refused({"model": "m", "input": "i"} | fields)
    return error.code, error.param, error.message


@pytest.mark.parametrize(
    ("fields", "code", "param", "message"),
    [
        (
            {"name": 1},
            "invalid_type",
            "name",
            "Invalid type for 'name': expected a string, but got an integer instead.",
        ),
        (
            {"name": 1.5},
            "invalid_type",
            "name",
            "Invalid type for 'name': expected a string, but got a decimal instead.",
        ),
        (
            {"name": []},
            "invalid_type",
            "name",
            "Invalid type for 'name': expected a string, but got an array instead.",
        ),
        (
            {"name": {}},
            "invalid_type",
            "name",
            "Invalid type for 'name': expected a string, but got an object instead.",
        ),
        (
            {"name": True},
            "invalid_type",
            "name",
            "Invalid type for 'name': expected a string, but got a boolean instead.",
        ),
        (
            {"model": None},
            "invalid_type",
            "model",
            "Invalid type for 'model': expected a string, but got null instead.",
        ),
        (
            {"count": "1"},
            "invalid_type",
            "count",
            "Invalid type for 'count': expected an integer, but got a string instead.",
        ),
        (
            {"count": 1.5},
            "invalid_type",
            "count",
            "Invalid type for 'count': expected an integer, but got a decimal instead.",
        ),
        (
            {"ratio": "1"},
            "invalid_type",
            "ratio",
            "Invalid type for 'ratio': expected a number, but got a string instead.",
        ),
        (
            {"flag": 1},
            "invalid_type",
            "flag",
            "Invalid type for 'flag': expected a boolean, but got an integer instead.",
        ),
        (
            {"list": "a"},
            "invalid_type",
            "list",
            "Invalid type for 'list': expected an array, but got a string instead.",
        ),
        (
            {"pairs": "a"},
            "invalid_type",
            "pairs",
            "Invalid type for 'pairs': expected an object, but got a string instead.",
        ),
        (
            {"inner": "a"},
            "invalid_type",
            "inner",
            "Invalid type for 'inner': expected an object, but got a string instead.",
        ),
        (
            {"text": 5},
            "invalid_type",
            "text",
            "Invalid type for 'text': expected one of a string or array of objects, but got an integer instead.",
        ),
        (
            {"where": 5},
            "invalid_type",
            "where",
            "Invalid type for 'where': expected one of a string or an object, but got an integer instead.",
        ),
        (
            {"nothing": 5},
            "invalid_type",
            "nothing",
            "Invalid type for 'nothing': expected null, but got an integer instead.",
        ),
        (
            {"mode": 5},
            "invalid_type",
            "mode",
            "Invalid type for 'mode': expected one of 'auto', 'none', or 'required', but got an integer instead.",
        ),
        (
            {"mode": "x"},
            "invalid_value",
            "mode",
            "Invalid value: 'x'. Supported values are: 'auto', 'none', and 'required'.",
        ),
        ({"either": "x"}, "invalid_value", "either", "Invalid value: 'x'. Supported values are: 'a' and 'b'."),
        ({"where": "x"}, "invalid_value", "where", "Invalid value: 'x'. Supported values are: 'here'."),
        ({"even": 3}, "invalid_value", "even", "Invalid value for 'even': expected an even number"),
        (
            {"word": "A1"},
            "invalid_value",
            "word",
            "Invalid 'word': string does not match pattern. Expected a string that matches the pattern '^[a-z]+$'.",
        ),
        (
            {"pet": {"type": "cow"}},
            "invalid_value",
            "pet",
            "Invalid value: 'cow'. Supported values are: 'cat' and 'dog'.",
        ),
        ({"pet": {}}, "missing_required_parameter", "pet.type", "Missing required parameter: 'pet.type'."),
        ({"pet": 1}, "invalid_type", "pet", "Invalid type for 'pet': expected an object, but got an integer instead."),
        (
            {"pet": {"type": "cat"}},
            "missing_required_parameter",
            "pet.lives",
            "Missing required parameter: 'pet.lives'.",
        ),
        (
            {"beast": {"type": "cow"}},
            "invalid_value",
            "beast",
            "Invalid value: 'cow'. Supported values are: 'cat' and 'dog'.",
        ),
        ({"beast": {}}, "invalid_value", "beast", "Invalid value for 'beast'."),
        (
            {"beast": 1},
            "invalid_type",
            "beast",
            "Invalid type for 'beast': expected an object, but got an integer instead.",
        ),
        (
            {"beast": {"type": "cat", "lives": "x"}},
            "invalid_type",
            "beast.lives",
            "Invalid type for 'beast.lives': expected an integer, but got a string instead.",
        ),
        (
            {"guess": "x"},
            "invalid_type",
            "guess",
            "Invalid type for 'guess': expected an integer, but got a string instead.",
        ),
        (
            {"include": ["reasoning.encrypted_content", "x"]},
            "invalid_value",
            "include",
            f"Invalid value: 'x'. Supported values are: {str(INCLUDABLE[:-1])[1:-1]}, and {INCLUDABLE[-1]!r}.",
        ),
        (
            {"include": "x"},
            "invalid_type",
            "include",
            "Invalid type for 'include': expected an array, but got a string instead.",
        ),
        (
            {"count": 11},
            "integer_above_max_value",
            "count",
            "Invalid 'count': integer above maximum value. Expected a value <= 10, but got 11 instead.",
        ),
        (
            {"count": 0},
            "integer_below_min_value",
            "count",
            "Invalid 'count': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            {"above": 5},
            "integer_above_max_value",
            "above",
            "Invalid 'above': integer above maximum value. Expected a value < 5, but got 5 instead.",
        ),
        (
            {"above": 0},
            "integer_below_min_value",
            "above",
            "Invalid 'above': integer below minimum value. Expected a value > 0, but got 0 instead.",
        ),
        (
            {"ratio": 3},
            "decimal_above_max_value",
            "ratio",
            "Invalid 'ratio': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        ),
        (
            {"ratio": 2.5},
            "decimal_above_max_value",
            "ratio",
            "Invalid 'ratio': decimal above maximum value. Expected a value <= 2, but got 2.5 instead.",
        ),
        (
            {"ratio": -1e-9},
            "decimal_below_min_value",
            "ratio",
            "Invalid 'ratio': decimal below minimum value. Expected a value >= 0, but got -1e-09 instead.",
        ),
        (
            {"list": ["a", "b", "c"]},
            "array_above_max_length",
            "list",
            (
                "Invalid 'list': array too long. "
                "Expected an array with maximum length 2, but got an array with length 3 instead."
            ),
        ),
        (
            {"list": []},
            "array_below_min_length",
            "list",
            "Invalid 'list': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ),
        (
            {"pairs": {"a": 1, "b": 2, "c": 3}},
            "object_above_max_properties",
            "pairs",
            (
                "Invalid 'pairs': too many properties. "
                "Expected an object with at most 2 properties, but got an object with 3 properties instead."
            ),
        ),
        (
            {"pairs": {}},
            "object_below_min_properties",
            "pairs",
            (
                "Invalid 'pairs': too few properties. "
                "Expected an object with at least 1 properties, but got an object with 0 properties instead."
            ),
        ),
        (
            {"word": "abcdef"},
            "string_above_max_length",
            "word",
            (
                "Invalid 'word': string too long. "
                "Expected a string with maximum length 5, but got a string with length 6 instead."
            ),
        ),
        (
            {"word": "a"},
            "string_below_min_length",
            "word",
            (
                "Invalid 'word': string too short. "
                "Expected a string with minimum length 2, but got a string with length 1 instead."
            ),
        ),
        (
            {"word": ""},
            "string_below_min_length",
            "word",
            "Invalid 'word': empty string. Expected a string with minimum length 2, but got an empty string instead.",
        ),
        ({"yes": False}, "invalid_value", "yes", "Invalid value: 'false'."),
        ({"inner": {"x": 1}}, "unknown_parameter", "inner.x", "Unknown parameter: 'inner.x'."),
        ({"where": {"flag": 1}}, "invalid_type", "where.flag", None),
        ({"inner": {"schema": 1}}, "invalid_type", "inner.schema", None),
    ],
    ids=lambda value: str(value)[:50],
)
def test_each_fault_has_its_code_path_and_words(fields, code, param, message):
    found = refused_with(**fields)
    assert found[:2] == (code, param)
    if message is not None:
        assert found[2] == message


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"zzz": 1, "count": "x"}, "missing_required_parameter", "model"),
        ({"zzz": 1, "count": "x", "model": "m"}, "missing_required_parameter", "input"),
        ({"zzz": 1, "count": "x", "model": "m", "input": "i"}, "unknown_parameter", "zzz"),
        ({"count": "x", "model": "m", "input": 1}, "invalid_type", "input"),
        ({"word": "", "count": "x", "model": "m", "input": "i"}, "invalid_type", "count"),
        ({"inner": {"x": 1}, "count": "x", "model": "m", "input": "i"}, "invalid_type", "count"),
    ],
    ids=str,
)
def test_of_several_faults_the_first_in_the_apis_order_is_told(body, code, param):
    error = refused(body)
    assert (error.code, error.param) == (code, param)


def test_a_missing_key_is_told_before_an_unknown_one():
    assert refused({"zzz": 1}, CreateItems).message == "Missing required parameter: 'items'."
    assert refused({"zzz": 1, "items": 5}, CreateItems).message == "Unknown parameter: 'zzz'."
    assert refused({}, UpdateConversation).param == "metadata"


def test_very_many_unknown_keys_are_one_error():
    body = {"model": "m"} | {f"key{number}": number for number in range(5000)}
    assert refused(body).message == "Missing required parameter: 'input'."
    assert refused(body | {"input": "i"}).message == "Unknown parameter: 'key0'."


@pytest.mark.parametrize(
    ("metadata", "code", "param"),
    [
        ({"a": 1}, "invalid_type", "metadata.a"),
        ({"a": None}, "invalid_type", "metadata.a"),
        ({"str": 1}, "invalid_type", "metadata.str"),
        ({"a.b": 1}, "invalid_type", "metadata.a.b"),
        ({"0": 1}, "invalid_type", "metadata.0"),
        ({"a": "v" * 513}, "string_above_max_length", "metadata.a"),
        ({"k" * 65: "v"}, "property_name_above_max_length", f"metadata.{'k' * 65}"),
        ({str(number): "v" for number in range(17)}, "object_above_max_properties", "metadata"),
        ({str(number): 1 for number in range(17)}, "object_above_max_properties", "metadata"),
        ([], "invalid_type", "metadata"),
        ("x", "invalid_type", "metadata"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_metadata_beyond_its_limits(metadata, code, param):
    error = refused({"metadata": metadata}, CreateConversation)
    assert (error.code, error.param) == (code, param)


def test_metadata_at_its_limits():
    metadata = {f"{number:064}": "é" * 512 for number in range(16)}
    assert parse_body(CreateConversation, json.dumps({"metadata": metadata}).encode()).metadata == metadata
    assert parse_body(CreateConversation, b'{"metadata":{"":""}}').metadata == {"": ""}


def test_a_long_name_is_told_with_its_limit():
    assert refused({"metadata": {"k" * 65: "v"}}, CreateConversation).message == (
        "Invalid property name in 'metadata': string too long. "
        "Expected a string with maximum length 64, but got a string with length 65 instead."
    )


def test_twenty_one_items_are_too_many():
    error = refused({"items": [REQUIRED["message"]] * 21}, CreateItems)
    assert (error.code, error.param) == ("array_above_max_length", "items")
    assert len(parse_body(CreateItems, json.dumps({"items": [REQUIRED["message"]] * 20}).encode()).items) == 20


def test_the_path_leads_into_the_items():
    items = [
        REQUIRED["message"],
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "refusal"}]},
    ]
    error = refused({"items": items}, CreateItems)
    assert (error.code, error.param) == ("missing_required_parameter", "items[1].content[1].refusal")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"{]",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":1} x',
        b'{"metadata":NaN}',
        b'{"items":[Infinity]}',
        b'{"items":[-Infinity]}',
        b'{"items":[1e400]}',
        b'{"items":[{"x":[-1e999]}]}',
        b'{"metadata":{"a":"\\ud800"}}',
        b'{"metadata":{"a":"\\udc00"}}',
        b'{"metadata":{"\\ud800":"a"}}',
        b'{"metadata":{"a":"\xff"}}',
        b'{"metadata":{"a":"\xed\xa0\x80"}}',
        b'\xef\xbb\xbf{"metadata":{}}',
        '{"metadata":{}}'.encode("utf-16"),
        b'{"metadata":{"a":"\x00"}}',
        b'{"metadata":{"a":"\n"}}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":01}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"items":' + b"[" * 500 + b"]" * 500 + b"}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_json_is_told_so(body):
    error = refused(body, CreateConversation)
    assert (error.code, error.param) == ("invalid_json", None)
    assert error.message.startswith("We could not parse the JSON body of your request: ")


def test_json_that_a_model_read_itself_is_judged_alike():
    with pytest.raises(ValidationError) as caught:
        CreateConversation.model_validate_json(b"{")
    error = invalid_parameter(caught.value, b"{")
    assert (error.code, error.param) == ("invalid_json", None)


def test_deep_nesting_is_called_so():
    assert "nested too deeply" in refused(b"[" * 1000).message


@pytest.mark.parametrize(
    ("body", "what"), [(b"[]", "an array"), (b"null", "null"), (b'"x"', "a string"), (b"1", "an integer")]
)
def test_a_body_that_is_no_object_is_told_so(body, what):
    error = refused(body)
    assert (error.code, error.param) == ("invalid_type", None)
    assert error.message == f"Invalid type for the request body: expected an object, but got {what} instead."


def test_an_absent_body_stands_for_an_empty_object_only_where_that_is_said():
    assert parse_body(CreateConversation, b"", empty_ok=True) == CreateConversation()
    assert parse_body(CreateConversation, b" \n", empty_ok=True) == CreateConversation()
    assert parse_body(CreateConversation, b"{}", empty_ok=False) == CreateConversation()
    assert "the body is empty" in refused(b"", CreateConversation).message


def test_of_keys_that_stand_twice_the_last_one_counts():
    assert parse_body(CreateConversation, b'{"metadata":{"a":"1","a":"2"},"metadata":{"b":"3"}}').metadata == {"b": "3"}
    assert parse_body(CreateConversation, b'{"metadata":{"a":"1","a":"2"}}').metadata == {"a": "2"}


@pytest.mark.parametrize("text", ["\\u0000", "\\ud83d\\ude00", "\\u2028", "\\\\u0000", "\\/", "\\u007f"])
def test_characters_that_are_hard_for_databases_pass(text):
    parsed = parse_json(f'"{text}"'.encode())
    assert parsed == json.loads(f'"{text}"')


def error_of(body: bytes) -> InvalidParameter | None:
    try:
        parse_body(CreateConversation, body)
    except InvalidParameter as error:
        return error
    return None


@given(st.binary(max_size=200))
def test_whatever_bytes_come_the_answer_is_a_clear_error(body):
    error = error_of(body)
    assert error is None or (error.code and error.message.endswith("."))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.sampled_from(["message", "input_text"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["items", "type", "role", "content", "id", "text", "metadata", "output", UNION_TAG + "message"]
                ),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_whatever_json_comes_the_answer_is_a_clear_error(value):
    error = error_of(json.dumps(value).encode())
    message = "" if error is None else error.message
    assert error is None or error.code
    assert not any(word in message for word in ("dict", "NoneType", "pydantic", "Input should", "tagged-union"))


def test_long_values_are_shortened_in_messages():
    error = refused_with(mode="x" * 100_000)
    assert len(error[2]) < 300


def test_own_words_of_a_validator_may_hold_braces():
    assert refused_with(include=["{words}"])[2].startswith("Invalid value: '{words}'. ")


FEW = 100


@pytest.fixture
def few_values(monkeypatch):
    """Bodies may hold 100 values."""
    monkeypatch.setattr(validation, "MAX_JSON_VALUES", FEW)


MANY_VALUES = {
    "empty arrays": (b"[%s]", b"[]", 50),  # an empty one counts as if it had a member
    "empty objects": (b"[%s]", b"{}", 50),
    "numbers": (b"[%s]", b"1", 100),
    "texts": (b"[%s]", b'""', 100),
    "nulls and spaces": (b" [ %s ] ", b" null ", 100),
    "texts with separators": (b"[%s]", b'",[{"', 100),
    "texts with quotes": (b"[%s]", b'"\\"[\\\\\\"["', 100),
    "texts that end in a backslash": (b"[%s]", b'"[\\\\"', 100),
    "members": (b"{%s}", b'"{[,":1', 100),
    "nested arrays": (b"[%s]", b"[[[]]]", 25),
    "objects": (b"[%s]", b'{"a":1,"b":2}', 33),
}


@pytest.mark.parametrize(("around", "member", "count"), MANY_VALUES.values(), ids=MANY_VALUES)
def test_more_values_than_one_may_send_are_refused_before_they_are_parsed(few_values, around, member, count):
    allowed = around % b",".join([member] * count)
    assert parse_json(allowed)
    beyond = around % b",".join([member] * (count + 1))
    for refused_body in (beyond, beyond.rstrip()[:-1]):
        with pytest.raises(InvalidParameter, match=r"it has more than 100 values\.$") as caught:
            parse_json(refused_body)
        assert (caught.value.code, caught.value.param) == ("invalid_json", None)


@pytest.mark.parametrize("text", [",", "[{", '",', "\\", "\\,", '\\",[', "\n,", "a, b, ", '{"a": [1, 2]}'])
def test_what_stands_in_texts_is_not_counted(few_values, text):
    value = {text * 1000: text * 1000, "b": [text * 1000, "\\", text * 1000, '"']}
    assert parse_json(json.dumps(value).encode()) == value


def counted(value: object) -> int:
    """For each array and object its members, or one if it has none."""
    if not isinstance(value, list | dict):
        return 0
    return max(len(value), 1) + sum(map(counted, value.values() if isinstance(value, dict) else value))


SEPARATING = st.text(st.sampled_from('\\",[{}]:a'))


@given(
    st.recursive(
        st.none() | st.floats(allow_nan=False, allow_infinity=False) | SEPARATING,
        lambda inner: st.lists(inner) | st.dictionaries(SEPARATING, inner),
        max_leaves=60,
    ),
    st.integers(1, 60),
    st.sampled_from([None, 1]),
)
def test_values_are_counted_exactly(value, allowed, indent):
    body = json.dumps(value, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "MAX_JSON_VALUES", allowed)
        if counted(value) <= allowed:
            assert parse_json(body) == value
        else:
            with pytest.raises(InvalidParameter, match=f"more than {allowed} values"):
                parse_json(body)


def test_the_largest_number_of_values_is_told():
    with pytest.raises(InvalidParameter, match=r": it has more than 1,000,000 values\.$"):
        parse_json(b"[" + b"1," * 1_000_000 + b"1]")
    assert len(parse_json(b"[" + b"1," * 999_999 + b"1]")) == 1_000_000


@pytest.mark.parametrize(
    "body",
    [b"1e999", b"[-1E+999]", b'{"a":1e400}', b'[{"a":[true,null,"x",{"b":[0,%s.0]}]}]' % (b"9" * 400)],
    ids=lambda body: body[:20],
)
def test_a_number_out_of_range_is_found_wherever_it_stands(body):
    with pytest.raises(InvalidParameter, match="a number is out of range") as caught:
        parse_json(body)
    assert caught.value.code == "invalid_json"


def test_other_large_numbers_are_kept():
    body = b'[1e308,-1E-400,%s,{"":["1e999",[],{},true,false,null,0.0]}]' % (b"9" * 400)
    assert parse_json(body) == json.loads(body)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("0", "integer_below_min_value"),
        ("-1", "integer_below_min_value"),
        ("101", "integer_above_max_value"),
        ("1000", "integer_above_max_value"),
        ("x", "invalid_type"),
        ("", "invalid_type"),
        ("1.5", "invalid_type"),
        ("9" * 5000, "invalid_type"),
    ],
    ids=lambda value: value[:10],
)
def test_a_limit_beyond_its_bounds(value, code):
    with pytest.raises(InvalidParameter) as caught:
        parse_value(TypeAdapter(Limit), value, "limit")
    assert (caught.value.code, caught.value.param) == (code, "limit")


def test_a_limit_is_told_in_the_queries_own_writing():
    with pytest.raises(InvalidParameter, match="Expected a value <= 100, but got 101 instead"):
        parse_value(TypeAdapter(Limit), "101", "limit")


def test_query_values_are_strings_that_stand_for_numbers_and_booleans():
    assert parse_value(TypeAdapter(Limit), "100", "limit") == 100
    assert parse_value(TypeAdapter(bool), "true", "stream") is True
    assert parse_value(TypeAdapter(float | None), "1.5", "x") == 1.5


def test_a_member_of_a_query_array_has_no_index():
    adapter: TypeAdapter[list[Include]] = TypeAdapter(list[Include])
    assert parse_value(adapter, ["reasoning.encrypted_content"], "include") == ["reasoning.encrypted_content"]
    with pytest.raises(InvalidParameter) as caught:
        parse_value(adapter, ["reasoning.encrypted_content", "x"], "include")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "include")


def test_a_key_of_a_query_object_is_named():
    with pytest.raises(InvalidParameter) as caught:
        parse_value(TypeAdapter(Metadata), {"a": "v" * 513}, "metadata")
    assert (caught.value.code, caught.value.param) == ("string_above_max_length", "metadata.a")


def test_a_query_value_that_is_none_of_those_supported():
    order: TypeAdapter[object] = TypeAdapter(Literal["asc", "desc"])
    with pytest.raises(InvalidParameter) as caught:
        parse_value(order, "up", "order")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "order")
    assert caught.value.message == "Invalid value: 'up'. Supported values are: 'asc' and 'desc'."
