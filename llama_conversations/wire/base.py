"""The ground of every wire model: how strict a request is, how an answer is written."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints
from pydantic_core import PydanticCustomError, PydanticKnownError

__all__ = [
    "MAX_BATCH_ITEMS",
    "MAX_PAGE",
    "UNION_TAG",
    "JsonValue",
    "Limit",
    "Metadata",
    "OpenModel",
    "RequestModel",
    "WireModel",
]

MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512
MAX_BATCH_ITEMS = 20
MAX_PAGE = 100

UNION_TAG = "\x1f"
"""First character of every tag of a discriminated union, so that tags can be told from keys in an error's path."""


class WireModel(BaseModel):
    """What goes over HTTP. Types are strict: ``"1"`` is no number and ``1`` no boolean.

    A validator is made when it is first used: most models are parts of others, or of answers that are never validated.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, protected_namespaces=(), defer_build=True)


class RequestModel(WireModel):
    """A request body: an unknown top-level key is an error (``unknown_parameter``)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class OpenModel(WireModel):
    """A part that keeps fields it does not know, byte-true; write it with ``exclude_unset=True``."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")


def _check_metadata_keys(value: object) -> object:
    """Before the values are looked at: too many pairs are refused as such, whatever they hold, and at once."""
    if not isinstance(value, dict):
        return value
    if len(value) > MAX_METADATA_PAIRS:
        facts = {"field_type": "Dictionary", "max_length": MAX_METADATA_PAIRS, "actual_length": len(value)}
        raise PydanticKnownError("too_long", facts)
    for key in value:
        if isinstance(key, str) and len(key) > MAX_METADATA_KEY:
            raise PydanticCustomError(
                "property_name_too_long",
                "Expected a key of at most {limit} characters, got one of {length}.",
                {"limit": MAX_METADATA_KEY, "length": len(key), "key": key},
            )
    return value


Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]
"""Size of a page: 1 to 100."""

Metadata = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=MAX_METADATA_VALUE)]],
    Field(max_length=MAX_METADATA_PAIRS),
    BeforeValidator(_check_metadata_keys),
]
"""At most 16 pairs of strings; keys up to 64, values up to 512 characters (OpenAI API reference, ``Metadata``)."""
