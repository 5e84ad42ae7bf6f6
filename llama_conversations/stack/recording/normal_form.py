"""The normal form of a request: two requests that mean the same to a model have the same one.

docs/testing.md has the list of what is made alike, for users; a test holds this module to it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import dataclass

from llama_conversations.stack.recording.credentials import without_credentials
from llama_conversations.stack.recording.json_text import compact
from llama_conversations.wire.base import JsonValue

CALLER_FIELDS = frozenset({"user", "safety_identifier", "prompt_cache_key"})
"""Who asks: it changes nothing about the answer."""

CALL_ID_FIELDS = frozenset({"call_id", "tool_call_id"})

MIN_BLOB = 512
"""As many characters of base64 are a file, or sealed: its digest tells as much, in fewer lines."""

_HASH_DIGITS = 16
_EXACT_FLOAT = 2**53
_MADE_ID = re.compile(
    r"(?<![A-Za-z0-9_])(?:(?!pmpt_)(?P<kind>[a-z]+)_[0-9a-f]{48,50}|call_[A-Za-z0-9]{24})(?![A-Za-z0-9_])"
)
_BLOB = re.compile(rf"(?P<head>data:[^,]*,)?(?P<blob>[A-Za-z0-9+/_-]{{{MIN_BLOB},}}={{0,2}})")


@dataclass(frozen=True, slots=True)
class NormalRequest:
    """A request in its normal form.

    Attributes:
        digest: The first hex digits of the SHA-256 of its JSON; the form's keys are sorted, so their order is nothing.
    """

    form: JsonValue
    digest: str


def normal_request(body: bytes) -> NormalRequest:
    """The normal form of a request that is JSON. Errors: ``ValueError`` for one that is not."""
    form = _Normalisation().top(without_credentials(json.loads(body)))
    return NormalRequest(form, hashlib.sha256(compact(form).encode()).hexdigest()[:_HASH_DIGITS])


class _Normalisation:
    """One pass over a request, its keys in alphabetical order; ids are numbered as they appear."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def top(self, request: JsonValue) -> JsonValue:
        form = self._value(request, "")
        if isinstance(form, dict):
            form |= {name: f"<{name}>" for name in CALLER_FIELDS if isinstance(form.get(name), str)}
        return form

    def _value(self, value: JsonValue, field: str) -> JsonValue:
        """``field``: the key under which the value stands, or the list that it is in."""
        if isinstance(value, dict):
            return {key: self._entry(field, key, value[key]) for key in sorted(value)}
        if isinstance(value, list):
            return [self._value(element, field) for element in value]
        if isinstance(value, str):
            return self._text(value)
        return _number(value) if isinstance(value, float) else value

    def _entry(self, holder: str, key: str, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            if key in CALL_ID_FIELDS or (key == "id" and holder == "tool_calls"):
                return self._place(value, "call")
            if key == "id" and holder == "input":
                return self._place(value, value.partition("_")[0])
        return self._value(value, key)

    def _text(self, text: str) -> str:
        blob = _BLOB.fullmatch(text)
        if blob is not None:
            digest = hashlib.sha256(blob["blob"].encode()).hexdigest()
            return f"{blob['head'] or ''}<{len(blob['blob'])} characters, SHA-256 {digest}>"
        return _MADE_ID.sub(lambda found: self._place(found[0], found["kind"] or "call"), text)

    def _place(self, identifier: str, kind: str) -> str:
        """The placeholder of an id, wherever it stands: ``<call_1>``."""
        if identifier not in self._places:
            self._counts[kind] += 1
            self._places[identifier] = f"<{kind}_{self._counts[kind]}>"
        return self._places[identifier]


def _number(value: float) -> JsonValue:
    """One way to write a number; what is too large to be one is a text, since JSON has no infinity."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) < _EXACT_FLOAT else value
