"""JSON as recordings write it: readable, and true to whatever a model server sent."""

from __future__ import annotations

import json
import re

from llama_conversations.wire.base import JsonValue

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def compact(value: JsonValue) -> str:
    """The value in one line. Errors: ``ValueError`` for what JSON has no number for (infinity, NaN)."""
    return _encodable(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def indented(value: JsonValue, level: int = 0) -> str:
    """The value in lines of two spaces more for each level; the first line is not indented. Errors: ``ValueError``."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    # No str.splitlines: a text may hold U+2028 and its like, which are no ends of lines in JSON.
    return _encodable(text).replace("\n", "\n" + "  " * level)


def _encodable(text: str) -> str:
    """Half a surrogate pair as its escape: UTF-8 has nothing else for it."""
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
