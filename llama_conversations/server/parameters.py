"""Where a web method's arguments come from: its path, its query string, its body. Read off its signature once.

A path parameter is named in the route. Of the others, the one annotated with a pydantic model is the body, and the rest
are of the query: ``str``, ``int``, … a scalar; ``list[X]`` a parameter that may stand several times, with or without
``[]`` (``include[]=a&include[]=b``); ``dict[str, X]`` one of the form ``metadata[key]=value``. An ``int`` is written in
digits, with or without a minus sign, a ``bool`` as ``true``, ``false``, ``1`` or ``0``. Parameters of the query that a
method does not know are ignored, as the OpenAI API does.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter
from pydantic_core import PydanticKnownError

from llama_conversations.errors import InvalidParameter
from llama_conversations.wire.validation import parse_body, parse_value

MAX_QUERY_FIELDS = 200
"""More ``name=value`` pairs than this are refused."""

_LATER = ConfigDict(defer_build=True)  # when it is first used: most are never used in a server's life
_PLACE = re.compile(r"\{(\w+)(?::path)?\}")


@dataclass(frozen=True)
class Parameter:
    """A parameter that has a name in the request.

    Attributes:
        adapter: Parses and describes the value.
    """

    name: str
    adapter: TypeAdapter[Any]


@dataclass(frozen=True)
class PathParameter(Parameter):
    """A segment of the path, or with ``{name:path}`` the rest of it; ``plain`` if it is any text: nothing to parse."""

    plain: bool

    def parse(self, text: str) -> object:
        """The argument."""
        _refuse_null(self.name, text)
        return text if self.plain else parse_value(self.adapter, text, self.name)


@dataclass(frozen=True)
class QueryParameter(Parameter, ABC):
    """A parameter of the query string.

    Attributes:
        required: The method has no default for it.
        default: That default, where it has one.
    """

    required: bool
    default: object

    def parse(self, given: Sequence[tuple[str, str]]) -> object:
        """The argument.

        Args:
            given: For every time that the parameter stands in the query, what follows its name (empty, ``[]``,
                ``[key]``) and the value.
        """
        return parse_value(self.adapter, self._gather(given), self.name)

    @abstractmethod
    def _gather(self, given: Sequence[tuple[str, str]]) -> object: ...


class Scalar(QueryParameter):
    """``name=value``, once."""

    def _gather(self, given: Sequence[tuple[str, str]]) -> str:
        if len(given) > 1 or given[0][0]:
            raise _wrong_form(self.name, f"expected '{self.name}=value', once")
        return given[0][1]


class Repeated(QueryParameter):
    """``name[]=value``, ``name=value`` or ``name[0]=value``, any number of times."""

    def _gather(self, given: Sequence[tuple[str, str]]) -> list[str]:
        return [value for _, value in given]


class Keyed(QueryParameter):
    """``name[key]=value``, once for each key."""

    def _gather(self, given: Sequence[tuple[str, str]]) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for subscript, value in given:
            key = subscript[1:-1]
            if not subscript.endswith("]") or key in pairs:
                raise _wrong_form(self.name, f"expected '{self.name}[key]=value', once for each key")
            pairs[key] = value
        return pairs


@dataclass(frozen=True)
class BodyParameter:
    """The JSON body; ``optional`` says that it may be absent."""

    name: str
    model: type[BaseModel]
    optional: bool

    def parse(self, body: bytes) -> BaseModel:
        """The argument."""
        return parse_body(self.model, body, empty_ok=self.optional)


@dataclass(frozen=True)
class Parameters:
    """All parameters of a web method, those of the path in the order of the path."""

    path: tuple[PathParameter, ...]
    query: Mapping[str, QueryParameter]
    body: BodyParameter | None

    def named(self) -> tuple[Parameter, ...]:
        """Those of path and query."""
        return (*self.path, *self.query.values())

    def arguments(self, segments: Sequence[str], query_string: bytes) -> dict[str, object]:
        """The arguments that path and query give; a parameter that is not given is left to the method's default.

        Raises:
            InvalidParameter: A value does not parse, or a required one is missing.
        """
        arguments = {parameter.name: parameter.parse(text) for parameter, text in zip(self.path, segments, strict=True)}
        if self.query:
            self._add_query(arguments, query_string)
        return arguments

    def _add_query(self, arguments: dict[str, object], query_string: bytes) -> None:
        given = self._given(query_string) if query_string else {}
        for name, parameter in self.query.items():
            if name in given:
                arguments[name] = parameter.parse(given[name])
            elif parameter.required:
                raise InvalidParameter(
                    f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
                )
            else:
                arguments[name] = parameter.default

    def _given(self, query_string: bytes) -> dict[str, list[tuple[str, str]]]:
        try:
            pairs = parse_qsl(
                query_string.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS
            )
        except ValueError:
            raise InvalidParameter(
                f"The query string is not valid: it has more than {MAX_QUERY_FIELDS} parameters.", param=None
            ) from None
        given: dict[str, list[tuple[str, str]]] = {}
        for key, value in pairs:
            name, bracket, rest = key.partition("[")
            if name in self.query:
                _refuse_null(name, key, value)
                given.setdefault(name, []).append((bracket + rest, value))
        return given


def parameters_of(function: Callable[..., object], route: str) -> Parameters:
    """Read a protocol's method.

    Args:
        route: Its route, such as ``/conversations/{conversation_id}``.

    Raises:
        TypeError: The route names a parameter that the method lacks, or the method has two bodies.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    in_path: list[PathParameter] = []
    for name in _PLACE.findall(route):
        if parameters.pop(name, None) is None:
            raise TypeError(f"{function.__qualname__} has no parameter '{name}', which its route {route} names")
        in_path.append(PathParameter(name, _text_adapter(hints[name]), plain=hints[name] is str))
    bodies = {name: model for name in parameters if (model := _model(hints[name]))}
    if len(bodies) > 1:
        raise TypeError(f"{function.__qualname__} has more than one body: {', '.join(bodies)}")
    return Parameters(
        tuple(in_path),
        {name: _query_parameter(p, hints[name]) for name, p in parameters.items() if name not in bodies},
        next((BodyParameter(name, model, _has_default(parameters[name])) for name, model in bodies.items()), None),
    )


def _query_parameter(parameter: inspect.Parameter, annotation: object) -> QueryParameter:
    plain = _without_none(annotation)
    form = _FORMS.get(get_origin(_bare(plain)), Scalar)
    return form(parameter.name, _text_adapter(plain), not _has_default(parameter), parameter.default)


_FORMS: Mapping[object, type[QueryParameter]] = {list: Repeated, dict: Keyed}


def _text_adapter(annotation: object) -> TypeAdapter[Any]:
    """Parses what a text stands for, of numbers and booleans less than pydantic does: not `` +1_0.0`` and ``yes``."""
    check = _CHECKS.get(_bare(annotation))
    checked = annotation if check is None else Annotated[annotation, check]
    return TypeAdapter(checked, config=_LATER)  # type: ignore[arg-type]  # a type made at run time


def _written(pattern: str, fault: Literal["int_parsing", "bool_parsing"]) -> BeforeValidator:
    fits = re.compile(pattern).fullmatch

    def check(text: str) -> str:
        if not fits(text):
            raise PydanticKnownError(fault)
        return text

    return BeforeValidator(check)


_CHECKS: Mapping[object, BeforeValidator] = {
    int: _written("-?[0-9]+", "int_parsing"),
    bool: _written("true|false|1|0", "bool_parsing"),
}


def _bare(annotation: object) -> object:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _has_default(parameter: inspect.Parameter) -> bool:
    return parameter.default is not inspect.Parameter.empty


def _model(annotation: object) -> type[BaseModel] | None:
    plain = _without_none(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def _without_none(annotation: object) -> object:
    """``X`` of ``X | None``: that a parameter may be absent does not mean that it may be null in a query."""
    if get_origin(annotation) in {Union, UnionType}:
        members = [member for member in get_args(annotation) if member is not NoneType]
        return Union[tuple(members)]  # noqa: UP007  # a union made at run time
    return annotation


def _refuse_null(name: str, *texts: str) -> None:
    """No id and no text in a query has U+0000, and databases differ in what they do with it."""
    if any("\0" in text for text in texts):
        raise InvalidParameter(f"Invalid '{name}': it has a null character.", param=name)


def _wrong_form(name: str, expected: str) -> InvalidParameter:
    return InvalidParameter(f"Invalid '{name}': {expected} in the query.", param=name, code="invalid_type")
