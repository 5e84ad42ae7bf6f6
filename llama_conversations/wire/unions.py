"""Shapes of wire data: unions whose member is told from one key, never guessed by trying; strings or arrays; arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from llama_conversations.wire.base import UNION_TAG

__all__ = ["NOT_A_MEMBER", "NOT_OF_JSON_TYPE", "Array", "ByJsonType", "ByKey"]

T = TypeVar("T")

NOT_A_MEMBER = "not_a_member"
"""Error type: the value is no object, lacks the key, or holds in it what no member has (context: key, supported)."""

NOT_OF_JSON_TYPE = "not_of_json_type"
"""Error type: the value is of none of the JSON types that the union has (context: expected)."""


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


@dataclass(frozen=True)
class ByJsonType:
    """Annotates a union of strings, arrays and objects, such as ``str | list[…]``: what is none of them is one error.

    Several objects are a union of their own, told apart as their members' models say.
    """

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        members: dict[str, list[object]] = {}
        for member in get_args(source):
            members.setdefault(_json_type(member), []).append(member)
        return core_schema.tagged_union_schema(
            {UNION_TAG + name: handler.generate_schema(reduce(or_, found)) for name, found in members.items()},
            _json_tagger(members),
            custom_error_type=NOT_OF_JSON_TYPE,
            custom_error_message="None of the JSON types of the union",
            custom_error_context={"expected": f"one of {' or '.join(_JSON_TYPES[name] for name in members)}"},
        )


_JSON_TYPES = {"string": "a string", "array": "array of objects", "object": "an object"}


def _json_type(member: object) -> str:
    """What JSON calls the values of a type."""
    origin = get_origin(member)
    if origin is Annotated:
        return _json_type(get_args(member)[0])
    if origin is Literal or member is str:
        return "string"
    return "array" if origin is list else "object"


def _json_tagger(members: Collection[str]) -> Callable[[object], str | None]:
    def tag_of(value: object) -> str | None:
        if isinstance(value, str):
            found = "string"
        elif isinstance(value, list):
            found = "array"
        else:
            found = "object" if isinstance(value, dict | BaseModel) else ""
        return UNION_TAG + found if found in members else None

    return tag_of


@dataclass(frozen=True)
class _FirstErrorOnly:
    """Annotates a list of which the first bad member ends validation, so a long bad list costs no more to refuse."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        (member,) = get_args(source)
        return core_schema.list_schema(handler.generate_schema(member), fail_fast=True)


Array = Annotated[list[T], _FirstErrorOnly()]
"""A list; the first bad member is the one that is reported."""
