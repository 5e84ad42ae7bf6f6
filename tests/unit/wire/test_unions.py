"""Unions by key: the member is read off, in parsed JSON and in models alike."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from llama_conversations.wire.base import OpenModel
from llama_conversations.wire.unions import Array, ByJsonType, ByKey


class One(OpenModel):
    kind: Literal["one", "uno"]


class Two(OpenModel):
    kind: Literal["two"] | None
    n: int


class TwoAndMore(OpenModel):
    kind: Literal["more"]
    of: Literal["these"]


class TwoAndLess(OpenModel):
    kind: Literal["more"]
    of: Literal["those"]


NUMBER: TypeAdapter[One | Two | TwoAndMore | TwoAndLess] = TypeAdapter(
    Annotated[One | Two | Annotated[TwoAndMore | TwoAndLess, ByKey("of")], ByKey("kind")]
)


def test_a_member_may_have_several_values_and_be_a_union_itself():
    assert isinstance(NUMBER.validate_python({"kind": "uno"}), One)
    assert isinstance(NUMBER.validate_python({"kind": "two", "n": 1}), Two)
    assert isinstance(NUMBER.validate_json('{"kind":"more","of":"those"}'), TwoAndLess)


def test_members_are_written_without_guessing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NUMBER.dump_python(Two(kind="two", n=1)) == {"kind": "two", "n": 1}
        assert NUMBER.dump_json(TwoAndMore(kind="more", of="these")) == b'{"kind":"more","of":"these"}'


def test_a_string_stands_beside_an_array_or_an_object():
    either: TypeAdapter[str | list[int]] = TypeAdapter(Annotated[str | Array[int], ByJsonType()])
    assert [either.validate_json(text) for text in ('"x"', "[1]", "[]")] == ["x", [1], []]
    assert [either.dump_json(value) for value in ("x", [1])] == [b'"x"', b"[1]"]
    thing: TypeAdapter[str | One] = TypeAdapter(Annotated[str | One, ByJsonType()])
    assert thing.validate_json('"x"') == "x"
    assert isinstance(thing.validate_json('{"kind":"one"}'), One)
    assert thing.dump_json(One(kind="one")) == b'{"kind":"one"}'


def test_of_a_bad_array_the_first_bad_member_ends_validation():
    numbers: TypeAdapter[list[int]] = TypeAdapter(Array[int])
    with pytest.raises(ValidationError, match="1 validation error") as caught:
        numbers.validate_python([1, "x", "y"], strict=True)
    assert caught.value.errors()[0]["loc"] == (1,)
