"""What a provider answered: pieces of JSON, one for a plain answer, and the failure that it ended in, if it did."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llama_conversations import errors
from llama_conversations.stack.recording.credentials import without_credentials
from llama_conversations.stack.recording.json_text import compact
from llama_conversations.wire.base import JsonValue

FAILURES: Mapping[str, type[errors.UpstreamError]] = {
    cls.__name__: cls
    for cls in (
        errors.UpstreamError,
        errors.UpstreamRejected,
        errors.UpstreamDenied,
        errors.UpstreamModelNotFound,
        errors.UpstreamRateLimited,
        errors.UpstreamFailed,
        errors.UpstreamUnreachable,
        errors.UpstreamTimedOut,
        errors.UpstreamDisconnected,
        errors.UpstreamGarbled,
    )
}
"""The errors that a provider raises, by name."""

_OF_SET_UP = (errors.UpstreamUnreachable.__name__, errors.UpstreamDenied.__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """An ``UpstreamError`` as it is kept: the name of its class and its facts, but for the provider's id."""

    error: str
    facts: Mapping[str, str | None]

    @classmethod
    def of(cls, error: errors.UpstreamError) -> Failure:
        """Keep an error; one of a class that is not ours as the nearest of ours that it derives from."""
        name = next(kind.__name__ for kind in type(error).__mro__ if kind in FAILURES.values())
        return cls(name, {fact: getattr(error, fact) for fact in _facts(FAILURES[name])})

    @property
    def of_set_up(self) -> bool:
        """Whether it tells of this machine's set-up alone: no model server, or no valid key for it."""
        return self.error in _OF_SET_UP

    def raised_by(self, provider_id: str) -> errors.UpstreamError:
        """The error again. Errors: ``ValueError`` where no error has that name and these facts."""
        make: Callable[..., errors.UpstreamError] | None = FAILURES.get(self.error)
        if make is None:
            raise ValueError(f"there is no error '{self.error}'")
        try:
            return make(provider_id, **self.facts)
        except TypeError as error:
            raise ValueError(f"the facts of a failure are not those of {self.error}: {error}") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation gave: its chunks as they came (of a plain answer: one, or none), then its failure, if any."""

    chunks: Sequence[bytes]
    failure: Failure | None = None


def readable(chunk: bytes) -> JsonValue:
    """A chunk as it stands in a recording: the object or list that it is, otherwise its text.

    Not kept are white space between tokens and a caller's credentials for tools. What is not UTF-8 is kept in lone
    surrogates (PEP 383).
    """
    try:
        value: JsonValue = json.loads(chunk.decode())
        if isinstance(value, dict | list):
            compact(value)  # fails for a number that has no JSON
            return without_credentials(value)
    except ValueError:
        pass
    return chunk.decode("utf-8", "surrogateescape")


def chunk_of(value: JsonValue) -> bytes:
    """The chunk that stands in a recording as this value."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else compact(value).encode()


def _facts(cls: type[errors.UpstreamError]) -> Sequence[str]:
    """What an error is made of: its attributes bear the names of its parameters."""
    return [name for name in inspect.signature(cls).parameters if name != "provider_id"]
