"""The one place where a body or a parameter that does not fit its model becomes ``InvalidParameter``.

Codes, paths and words are those of the OpenAI API, as far as they were observed. Where several things are wrong with a
body, the first is reported in this order: ``model`` missing, ``input`` missing, another top-level key missing, a
top-level key unknown, and then whatever comes first in the order of the model's fields.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from llama_conversations.errors import InvalidParameter
from llama_conversations.wire.base import UNION_TAG
from llama_conversations.wire.faults import Fault, judge

__all__ = ["MAX_JSON_VALUES", "invalid_parameter", "parse_body", "parse_json", "parse_object", "parse_value"]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

MAX_JSON_VALUES = 1_000_000
"""A body may hold about as many values; what is counted are the commas and opening brackets outside of its strings.

A value costs up to 200 times the bytes that it takes in the body, and nobody else is served while a body is parsed.
"""

_MANY_KEYS = 32

_MISSING_FIRST = ("model", "input")


def parse_body(model: type[M], body: bytes, *, empty_ok: bool = False) -> M:
    """A request's body as ``model``.

    Args:
        body: JSON in UTF-8.
        empty_ok: An absent body stands for ``{}``.

    Raises:
        InvalidParameter: It is not JSON (``invalid_json``), or not what the model asks for.
    """
    return parse_object(model, {} if empty_ok and not body.strip() else parse_json(body))


def parse_object(model: type[M], value: object) -> M:
    """Parsed JSON as ``model``. Raises ``InvalidParameter`` when it is not what the model asks for."""
    try:
        return model.model_validate(_with_few_unknown_keys(model, value))
    except ValidationError as error:
        raise invalid_parameter(error, value) from None


def parse_value(adapter: TypeAdapter[T], value: object, param: str) -> T:
    """A query parameter, given as a string, a list of strings or a dict of strings: ``"20"`` is a number here.

    Raises:
        InvalidParameter: Its param is ``param``, or ``param.key`` inside a dict; never an index, which a query has not.
    """
    try:
        return adapter.validate_python(value, strict=False)
    except ValidationError as error:
        raise invalid_parameter(error, value, param) from None


def parse_json(body: bytes) -> object:
    """JSON as RFC 8259 has it: UTF-8 without a mark, no NaN or Infinity, no lone surrogates; nested 200 deep at most.

    Of keys that stand twice the last one counts; integers may have any size up to 4,300 digits. Of values there may be
    ``MAX_JSON_VALUES``.

    Raises:
        InvalidParameter: With code ``invalid_json``.
    """
    if _has_too_many_values(body):
        raise _not_json(f"it has more than {MAX_JSON_VALUES:,} values")
    try:
        value: object = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _not_json(_why(body, str(error))) from None
    if _has_infinity(value):
        raise _not_json("a number is out of range")
    return value


def _with_few_unknown_keys(model: type[BaseModel], value: object) -> object:
    """Of very many unknown keys only the first, which is the one to report: each of them would cost an error."""
    if model.model_config.get("extra") != "forbid" or not isinstance(value, dict):
        return value
    known = model.model_fields
    if len(value) <= len(known) + _MANY_KEYS:
        return value
    names = {*known, *(field.alias for field in known.values())}
    unknown = next(key for key in value if key not in names)
    return {key: member for key, member in value.items() if key in names or key == unknown}


def _not_json(why: str) -> InvalidParameter:
    return InvalidParameter(
        f"We could not parse the JSON body of your request: {why}.", param=None, code="invalid_json"
    )


def _why(body: bytes, parser_says: str) -> str:
    if not body.strip():
        return "the body is empty"
    return parser_says.replace("recursion limit exceeded", "nested too deeply")


def _has_too_many_values(body: bytes) -> bool:
    """Told without parsing, which is what would cost too much."""
    if len(body) <= MAX_JSON_VALUES or len(body.translate(None, _NO_SEPARATOR)) <= MAX_JSON_VALUES:
        return False
    # What was counted may stand in texts, so leave these out; but first the escapes that look like a text's end.
    marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARK)
    if marks.count(b'"') > 4 * MAX_JSON_VALUES:  # each value may be a text, and have a text for its key
        return True
    return len(_TEXT.sub(b"", marks)) > MAX_JSON_VALUES


_SEPARATORS = b",[{"  # in each array and object there is one for each member, and one more in an empty one
_NO_SEPARATOR = bytes(set(range(256)) - set(_SEPARATORS))
_NO_MARK = bytes(set(_NO_SEPARATOR) - set(b'"'))
_TEXT = re.compile(rb'"[^"]*"')


def _has_infinity(value: object) -> bool:
    """Whether a number was too large for a float (``1e400``): it could not be written back as JSON."""
    pending: list[object] = [[value]]
    while pending:
        here = pending.pop()
        members = here.values() if isinstance(here, dict) else cast("list[object]", here)
        for member in members:
            kind = type(member)
            if kind is str or kind is int:
                continue
            if kind is float:
                if member in _INFINITIES:
                    return True
            elif member and kind is not bool:
                pending.append(member)
    return False


_INFINITIES = frozenset((float("inf"), float("-inf")))


def invalid_parameter(error: ValidationError, value: object, param: str | None = None) -> InvalidParameter:
    """What to tell the caller of a validation that failed.

    Args:
        value: What was validated, as parsed JSON: it tells keys from the steps of a union in the error's path.
        param: The query parameter that ``value`` is; ``None`` for a body.
    """
    found = _most_telling(error.errors(include_url=False))
    path = _path(found, value)
    if param is not None:
        path = [param, *(part for part in path if isinstance(part, str))]
    fault = Fault(found["type"], _written(path), found["input"], found.get("ctx", {}), found["msg"])
    code, message, where = judge(fault)
    return InvalidParameter(message, param=where, code=code)


def _most_telling(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    def rank(error: ErrorDetails) -> int:
        if len(error["loc"]) == 1 and error["type"] == "missing":
            name = error["loc"][0]
            return _MISSING_FIRST.index(name) if name in _MISSING_FIRST else len(_MISSING_FIRST)
        unknown_key = len(error["loc"]) == 1 and error["type"] == "extra_forbidden"
        return len(_MISSING_FIRST) + (1 if unknown_key else 2)

    return min(errors, key=rank)


def _path(error: ErrorDetails, value: object) -> list[str | int]:
    """The error's place in the JSON: its ``loc`` without the steps that are no keys there (tags, wrappers)."""
    path: list[str | int] = []
    here = value
    for part in error["loc"]:
        if isinstance(part, str) and part.startswith(UNION_TAG):
            continue
        if isinstance(here, dict) and part in here:
            here = cast("dict[object, object]", here)[part]
        elif isinstance(here, list) and isinstance(part, int):
            here = here[part]
        else:
            continue
        path.append(part)
    if error["type"] == "missing":
        path.append(error["loc"][-1])
    return path


def _written(path: Sequence[str | int]) -> str | None:
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return written.removeprefix(".") or None
