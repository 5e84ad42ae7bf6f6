"""What a web method answers with: JSON that is written already, or a stream of events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Json(Generic[M]):
    """An answer of shape ``M`` as the exact UTF-8 bytes that go out.

    What is stored as JSON text is served by joining bytes, not by parse, validate and dump. Who calls a service from
    Python reads it with ``parse``. ``headers`` go out with it, beside those that every answer has.
    """

    model: type[M]
    body: bytes
    headers: Mapping[str, str] | None = None

    def parse(self) -> M:
        """The answer as a model."""
        return self.model.model_validate_json(self.body)

    @classmethod
    def of(cls, value: M) -> Json[M]:
        """Write a model; keys that were never set stay absent."""
        return cls(type(value), value.model_dump_json(exclude_unset=True, by_alias=True).encode())

    @classmethod
    def whole(cls, value: M) -> Json[M]:
        """Write a model with every key, defaults included."""
        return cls(type(value), value.model_dump_json(by_alias=True).encode())


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer of server-sent events.

    ``frames`` yields whole frames as bytes, each with its closing blank line. Whoever consumes it must close it
    (``aclose``), so that a client that hangs up is noticed.
    """

    frames: AsyncGenerator[bytes, None]
