"""Shapes of wire data: unions whose member is told from one key, never guessed by trying; strings or arrays; arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from llama_conversations.wire.base import UNION_TAG

__all__ = [
    "NOT_A_MEMBER",
    "NOT_STRING_OR_ARRAY",
    "NOT_STRING_OR_OBJECT",
    "Array",
    "ByKey",
    "StringOrArray",
    "StringOrObject",
]

T = TypeVar("T")

NOT_A_MEMBER = "not_a_member"
"""Error type: the value is no object, lacks the key, or holds in it what no member has (context: key, supported)."""

NOT_STRING_OR_ARRAY = "not_string_or_array"
"""Error type: the value is neither a string nor an array."""

NOT_STRING_OR_OBJECT = "not_string_or_object"
"""Error type: the value is neither a string nor an object."""


def _reader(key: str) -> Callable[[object], object]:
    """A function that reads ``key`` of an object, be it parsed JSON (a dict) or a model; ``None`` where it has none."""

    def read(value: object) -> object:
        if isinstance(value, dict):
            return cast("dict[str, object]", value).get(key)
        return getattr(value, key, None)

    return read


@dataclass(frozen=True)
class ByKey:
    """Annotates a union of models: the member is the one whose ``key`` is a Literal that holds the value's own.

    Args:
        key: Name of the field that tells the members apart, such as ``type`` or ``role``.
        read: What to take for the key's value, where that needs more than reading it.
    """

    key: str
    read: Callable[[object], object] | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[str, CoreSchema] = {}
        for member in get_args(source):
            schema = handler.generate_schema(member)
            choices.update((UNION_TAG + value, schema) for value in _values(member, self.key))
        supported = [tag.removeprefix(UNION_TAG) for tag in choices]
        return core_schema.tagged_union_schema(
            choices,
            _tagger(self.read or _reader(self.key), choices),
            custom_error_type=NOT_A_MEMBER,
            custom_error_message="No member of the union",
            custom_error_context=cast("dict[str, str | int | float]", {"key": self.key, "supported": supported}),
        )


def _tagger(read: Callable[[object], object], choices: Mapping[str, object]) -> Callable[[object], str | None]:
    tags = {tag.removeprefix(UNION_TAG): tag for tag in choices}

    def tag_of(value: object) -> str | None:
        found = read(value)
        return tags.get(found) if isinstance(found, str) else None

    return tag_of


def _values(member: object, key: str) -> Iterator[str]:
    """Every value that ``key`` may have in a model, or in the members of a union of models."""
    if isinstance(member, type) and issubclass(member, BaseModel):
        yield from _literals(member.model_fields[key].annotation)
    else:
        for part in get_args(get_args(member)[0] if get_origin(member) is Annotated else member):
            yield from _values(part, key)


def _literals(annotation: object) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _literals(part)


_STRING, _ARRAY, _OBJECT = UNION_TAG + "string", UNION_TAG + "array", UNION_TAG + "object"


@dataclass(frozen=True)
class StringOrArray:
    """Annotates ``str | list[…]``: what is neither is one error, not one for each."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        string, array = get_args(source)
        return core_schema.tagged_union_schema(
            {_STRING: handler.generate_schema(string), _ARRAY: handler.generate_schema(array)},
            _string_or_array,
            custom_error_type=NOT_STRING_OR_ARRAY,
            custom_error_message="Neither a string nor an array",
        )


def _string_or_array(value: object) -> str | None:
    if isinstance(value, str):
        return _STRING
    return _ARRAY if isinstance(value, list) else None


@dataclass(frozen=True)
class StringOrObject:
    """Annotates ``str | Model``, as ``StringOrArray``; the object may itself be a union by key."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        string, *objects = get_args(source)
        return core_schema.tagged_union_schema(
            {
                _STRING: handler.generate_schema(string),
                _OBJECT: handler.generate_schema(reduce(or_, objects)),
            },
            _string_or_object,
            custom_error_type=NOT_STRING_OR_OBJECT,
            custom_error_message="Neither a string nor an object",
        )


def _string_or_object(value: object) -> str | None:
    if isinstance(value, str):
        return _STRING
    return _OBJECT if isinstance(value, dict | BaseModel) else None


@dataclass(frozen=True)
class _FirstErrorOnly:
    """Annotates a list of which the first bad member ends validation, so a long bad list costs no more to refuse."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        (member,) = get_args(source)
        return core_schema.list_schema(handler.generate_schema(member), fail_fast=True)


Array = Annotated[list[T], _FirstErrorOnly()]
"""A list; the first bad member is the one that is reported."""
