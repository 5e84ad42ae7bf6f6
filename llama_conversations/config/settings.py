"""The ground of every settings' model, and reading a tree into one with messages in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from llama_conversations.config.findings import Finding, KeyPath, unknown_name
from llama_conversations.config.masking import is_secret_key
from llama_conversations.config.schema import known_keys
from llama_conversations.config.written import EnvText

Settings = TypeVar("Settings", bound=BaseModel)

_PLAIN_WORDS = "plain_words"  # type of the errors whose message needs no rewording
_DEMAND = "demand"  # type of the errors that say what a value must be
_CONSEQUENCE = "default_factory_not_called"  # type of the errors that only say that there are others
_KEY_OF_MAPPING = "[key]"  # pydantic's location of what is wrong with a key itself
_SHOWN_LENGTH = 40
_KIND = re.compile(
    r"(int|float|bool|string|list|tuple|set|dict|model|path)(?:_attributes)?_(?:type|parsing|from_float)"
)
_NEEDED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a mapping (key: value)",
    "model": "a mapping (key: value)",
    "path": "a path",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


class SettingsModel(BaseModel):
    """A group of settings: unknown keys are errors, and each field gives the type to what came as text.

    A field that is text gets a number as it was written (``0012``, ``1.10``); a field that is a number takes text that
    says one, but neither true nor false. A validator is made when it is first used: most groups are parts of others,
    or of providers that are not on.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values_as_numbers(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and info.field_name is not None:
            annotation = cls.model_fields[info.field_name].annotation
            types = get_args(annotation) or (annotation,)
            if bool not in types and (int in types or float in types):
                raise demand_error("a number")
        return value


def plain_error(message: str) -> PydanticCustomError:
    """An error for a validator to raise, its message shown as it is."""
    return PydanticCustomError(_PLAIN_WORDS, "{message}", {"message": message})


def demand_error(demand: str) -> PydanticCustomError:
    """An error for a validator to raise: what the value must be; what was given is added where it may be shown."""
    return PydanticCustomError(_DEMAND, "must be {demand}", {"demand": demand})


def located_errors(*wrong: tuple[KeyPath, str]) -> ValidationError:
    """An error for a validator to raise: each a path below the validated value, and what is wrong there."""
    lines = [InitErrorDetails(type=plain_error(message), loc=path, input=None) for path, message in wrong]
    return ValidationError.from_exception_data("settings", lines)


def parse_settings(model: type[Settings], tree: object, at: KeyPath = ()) -> tuple[Settings | None, list[Finding]]:
    """Read a tree into a settings' model.

    Args:
        model: The model; any pydantic model will do.
        tree: Mappings, lists and scalars, with the environment's variables put in.
        at: Where the tree stands in its file; the findings' paths begin with it.

    Returns:
        The settings and no findings, or ``None`` and everything that is wrong.
    """
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if detail["type"] != _CONSEQUENCE]
    found: dict[Finding, None] = {}
    for detail in details:
        path = _key_path(detail, tree)
        found[Finding((*at, *path), _message(model, detail, path))] = None
    return None, list(found)


def _key_path(detail: ErrorDetails, tree: object) -> KeyPath:
    """The error's location without what is no key in the tree, such as the name of a union's member."""
    path: list[str | int] = []
    here, location = tree, detail["loc"]
    for place, part in enumerate(location):
        children = dict(enumerate(here)) if isinstance(here, list) else here
        if isinstance(children, Mapping) and part in children:
            here = children[part]
        elif part == _KEY_OF_MAPPING or not _may_be_absent(detail, is_last=place == len(location) - 1):
            continue
        path.append(part)
    return tuple(path)


def _may_be_absent(detail: ErrorDetails, *, is_last: bool) -> bool:
    """Whether a part of the location is a key although the tree has no such key."""
    return detail["type"] == _PLAIN_WORDS or (detail["type"] == "missing" and is_last)


def _message(model: type[BaseModel], detail: ErrorDetails, path: KeyPath) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == _PLAIN_WORDS:
        return detail["msg"]
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return unknown_name("key", str(path[-1]), known_keys(model, path[:-1]))
    if kind in {"value_error", "assertion_error"}:
        return str(context["error"])
    demand = _demand(detail)
    return f"must be {demand}{_given(model, detail['input'], path)}" if demand else detail["msg"]


def _demand(detail: ErrorDetails) -> str | None:
    """What the value must be, where the error is one of those that say it."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {_scalar_text(context[bound])}"
    if kind in {"literal_error", "enum"}:
        return str(context["expected"])
    if kind == _DEMAND:
        return str(context["demand"])
    if kind == "string_too_short":
        return f"text of {context['min_length']} or more characters"
    if known := _KIND.match(kind):
        return _NEEDED[known[1]]
    before, separator, demand = detail["msg"].partition(" should be ")
    return demand if separator and before in {"Input", "Value"} else None


def _given(model: type[BaseModel], value: object, path: KeyPath) -> str:
    """What was given instead, as the end of a sentence; a value is quoted only if it cannot be a secret."""
    if value is None:
        field = known_keys(model, path[:-1]).get(str(path[-1])) if path else None
        has_default = field is not None and not field.is_required()
        return "; nothing is given" + (": remove the key to take its default" if has_default else "")
    if any(is_secret_key(str(part)) for part in path):
        return ", which the value given is not"
    if isinstance(value, EnvText):
        return f", which the value of {value.template} is not"
    if isinstance(value, Mapping):
        return ", not a mapping"
    if isinstance(value, str | int | float):
        return f", not {_scalar_text(value)}"
    return ", not a list" if isinstance(value, list) else f", not a {type(value).__name__}"


def _scalar_text(value: str | float) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value if len(value) <= _SHOWN_LENGTH else value[:_SHOWN_LENGTH] + '…'}'"
    return str(int(value)) if value.__class__ is float and value.is_integer() else str(value)
