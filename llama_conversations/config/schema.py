"""Which settings' model reads what stands at a path: looked up to name keys in messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from llama_conversations.config.findings import KeyPath

_CONTAINERS = (list, dict)


def known_keys(model: type[BaseModel], path: KeyPath) -> dict[str, FieldInfo]:
    """The keys that may stand in the mapping at ``path``, aliases among them; none where no model reads it.

    Where one of several models may read it, they are those of all.
    """
    places: list[object] = [model]
    for part in path:
        places = [inner for place in places for inner in _step(place, part)]
    return {key: field for model in _models(places) for key, field in _keys(model).items()}


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    keys: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            keys |= {choice: field for choice in alias.choices if isinstance(choice, str)}
        else:
            keys[alias if isinstance(alias, str) else name] = field
    return keys


def _step(place: object, part: str | int) -> Iterator[object]:
    for annotation in _members(place):
        if get_origin(annotation) in _CONTAINERS:
            yield get_args(annotation)[-1]
        for model in _models([annotation]):
            field = _keys(model).get(str(part))
            if field is not None:
                yield field.annotation


def _models(places: Iterable[object]) -> Iterator[type[BaseModel]]:
    for place in places:
        for annotation in _members(place):
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield annotation


def _members(annotation: object) -> Iterator[object]:
    """The annotation itself, or the members of a union, without ``Annotated``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin is None or origin in _CONTAINERS:
        yield annotation
    else:
        for member in get_args(annotation):
            yield from _members(member)
