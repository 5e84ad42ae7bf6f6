"""What is wrong with a value, in the API's codes and in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import cast

from pydantic_core import PydanticCustomError

from llama_conversations.wire.base import UNION_TAG
from llama_conversations.wire.unions import NOT_A_MEMBER, NOT_OF_JSON_TYPE

__all__ = ["Fault", "judge", "unsupported_value"]

_SHOWN = 100
_ESCAPED_TAG = repr(UNION_TAG)[1:-1]
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding of pydantic's.

    Attributes:
        kind: Its type, such as ``string_too_long``.
        param: Path of the value in the request; ``None`` for the body as a whole.
        value: The value itself.
        context: The facts of its kind, such as ``max_length``.
        text: Its own words.
    """

    kind: str
    param: str | None
    value: object
    context: Mapping[str, object]
    text: str

    @property
    def place(self) -> str:
        """The path as it stands in a message."""
        return "the request body" if self.param is None else f"'{_shortened(self.param)}'"


Verdict = tuple[str, str]
"""Code and message."""

Judge = Callable[[Fault], Verdict]


def judge(fault: Fault) -> tuple[str, str, str | None]:
    """Code, message and param of a finding."""
    if fault.kind == "property_name_too_long":
        return _long_name(fault)
    if fault.kind in _OWN_CODES:
        return fault.kind, fault.text, fault.param
    if fault.kind == NOT_A_MEMBER:
        return _not_a_member(fault)
    code, message = _JUDGES.get(fault.kind, _odd)(fault)
    return code, message, fault.param


def unsupported_value(value: str, supported: Iterable[str]) -> PydanticCustomError:
    """For a validator to raise: the value is none of those supported (code ``invalid_value``)."""
    return PydanticCustomError("invalid_value", "{words}", {"words": _unsupported(value, supported)})


_OWN_CODES = {"invalid_value", "invalid_type"}
"""Codes that a validator may raise as the type of its error, with the message that it wants."""


def _odd(fault: Fault) -> Verdict:
    return "invalid_value", f"Invalid value for {fault.place}."


def _value_error(fault: Fault) -> Verdict:
    return "invalid_value", f"Invalid value for {fault.place}: {fault.context.get('error')}"


def _bad_json(fault: Fault) -> Verdict:
    return "invalid_json", f"Invalid JSON for {fault.place}."


def _missing(fault: Fault) -> Verdict:
    return "missing_required_parameter", f"Missing required parameter: {fault.place}."


def _unknown(fault: Fault) -> Verdict:
    return "unknown_parameter", f"Unknown parameter: {fault.place}."


def _expected(what: str) -> Judge:
    def typed(fault: Fault) -> Verdict:
        got = _kind_of(fault.value)
        return "invalid_type", f"Invalid type for {fault.place}: expected {what}, but got {got} instead."

    return typed


def _of_json_type(fault: Fault) -> Verdict:
    return _expected(cast("str", fault.context["expected"]))(fault)


def _literal(fault: Fault) -> Verdict:
    supported = _QUOTED.findall(str(fault.context.get("expected", "")))
    if supported and not isinstance(fault.value, str):
        return _expected(f"one of {_listed(supported, 'or')}")(fault)
    return "invalid_value", _unsupported(_plain(fault.value), supported)


def _tag(fault: Fault) -> Verdict:
    tags = str(fault.context.get("expected_tags", "")).replace(_ESCAPED_TAG, "")
    supported = _QUOTED.findall(tags)
    return "invalid_value", _unsupported(str(fault.context.get("tag", "")).removeprefix(UNION_TAG), supported)


def _no_tag(fault: Fault) -> Verdict:
    return _odd(fault) if isinstance(fault.value, dict) else _expected("an object")(fault)


def _not_a_member(fault: Fault) -> tuple[str, str, str | None]:
    """The key that tells the members of a union apart is missing, or holds what no member has."""
    if not isinstance(fault.value, dict):
        return *_expected("an object")(fault), fault.param
    key = cast("str", fault.context["key"])
    found = cast("dict[str, object]", fault.value).get(key)
    if isinstance(found, str):
        return "invalid_value", _unsupported(found, cast("list[str]", fault.context["supported"])), fault.param
    where = Fault(fault.kind, key if fault.param is None else f"{fault.param}.{key}", found, {}, "")
    return *(_missing if key not in fault.value else _expected("a string"))(where), where.param


def _bound(side: str, sign: str, limit: str) -> Judge:
    extreme = "maximum" if side == "above" else "minimum"

    def bounded(fault: Fault) -> Verdict:
        bound = fault.context[limit]
        number = "integer" if isinstance(bound, int) else "decimal"
        return f"{number}_{side}_{extreme[:3]}_value", (
            f"Invalid {fault.place}: {number} {side} {extreme} value. "
            f"Expected a value {sign} {_plain(bound)}, but got {_plain(fault.value)} instead."
        )

    return bounded


def _too_long(fault: Fault) -> Verdict:
    limit = fault.context["max_length"]
    if isinstance(fault.value, dict):
        return "object_above_max_properties", (
            f"Invalid {fault.place}: too many properties. Expected an object with at most {limit} properties, "
            f"but got an object with {len(fault.value)} properties instead."
        )
    return "array_above_max_length", _too("array too long", "an array", "maximum", limit, fault)


def _too_short(fault: Fault) -> Verdict:
    limit = fault.context["min_length"]
    if isinstance(fault.value, dict):
        return "object_below_min_properties", (
            f"Invalid {fault.place}: too few properties. Expected an object with at least {limit} properties, "
            f"but got an object with {len(fault.value)} properties instead."
        )
    return "array_below_min_length", _too(
        "array too short" if fault.value else "empty array", "an array", "minimum", limit, fault
    )


def _string_too_long(fault: Fault) -> Verdict:
    limit = fault.context["max_length"]
    return "string_above_max_length", _too("string too long", "a string", "maximum", limit, fault)


def _string_too_short(fault: Fault) -> Verdict:
    limit = fault.context["min_length"]
    what = "string too short" if fault.value else "empty string"
    return "string_below_min_length", _too(what, "a string", "minimum", limit, fault)


def _too(what: str, kind: str, extreme: str, limit: object, fault: Fault) -> str:
    length = len(cast("Sized", fault.value))
    got = f"{kind} with length {length}" if length else f"an empty {kind.split()[1]}"
    return f"Invalid {fault.place}: {what}. Expected {kind} with {extreme} length {limit}, but got {got} instead."


def _long_name(fault: Fault) -> tuple[str, str, str | None]:
    """A key of an object is too long; the param names the key."""
    limit, length, key = (fault.context[fact] for fact in ("limit", "length", "key"))
    message = (
        f"Invalid property name in {fault.place}: string too long. Expected a string with maximum length {limit}, "
        f"but got a string with length {length} instead."
    )
    return "property_name_above_max_length", message, str(key) if fault.param is None else f"{fault.param}.{key}"


def _pattern(fault: Fault) -> Verdict:
    return "invalid_value", (
        f"Invalid {fault.place}: string does not match pattern. "
        f"Expected a string that matches the pattern '{fault.context['pattern']}'."
    )


_OBJECT = _expected("an object")
_NUMBER = _expected("a number")
_INTEGER = _expected("an integer")
_BOOLEAN = _expected("a boolean")

_JUDGES: Mapping[str, Judge] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "value_error": _value_error,
    "json_invalid": _bad_json,
    "json_type": _bad_json,
    "literal_error": _literal,
    "enum": _literal,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _no_tag,
    "string_type": _expected("a string"),
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_parsing_size": _INTEGER,
    "int_from_float": _INTEGER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "list_type": _expected("an array"),
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "none_required": _expected("null"),
    NOT_OF_JSON_TYPE: _of_json_type,
    "greater_than": _bound("below", ">", "gt"),
    "greater_than_equal": _bound("below", ">=", "ge"),
    "less_than": _bound("above", "<", "lt"),
    "less_than_equal": _bound("above", "<=", "le"),
    "too_long": _too_long,
    "too_short": _too_short,
    "string_too_long": _string_too_long,
    "string_too_short": _string_too_short,
    "string_pattern_mismatch": _pattern,
}


def _unsupported(value: str, supported: Iterable[str]) -> str:
    listed = _listed(list(supported), "and")
    return f"Invalid value: '{_shortened(value)}'." + (f" Supported values are: {listed}." if listed else "")


def _listed(values: list[str], word: str) -> str:
    """``'a'``, ``'a' and 'b'``, ``'a', 'b', and 'c'``."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) <= 2:
        return f" {word} ".join(quoted)
    return f"{', '.join(quoted[:-1])}, {word} {quoted[-1]}"


def _kind_of(value: object) -> str:
    """What a value is in JSON, with its article."""
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "null"


_KINDS = ((bool, "a boolean"), (int, "an integer"), (float, "a decimal"), (str, "a string"), (list, "an array"),
          (dict, "an object"))  # fmt: skip


def _plain(value: object) -> str:
    """A scalar as JSON writes it, a whole float without its point."""
    if isinstance(value, float) and value.is_integer():
        return _plain(int(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _shortened(str(value)) if isinstance(value, str | int | float) else _kind_of(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
