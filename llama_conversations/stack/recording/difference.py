"""What is shown when nothing fits: the recording that is most like what is asked, and how the two differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest

from llama_conversations.stack.recording.folder import Recording
from llama_conversations.stack.recording.json_text import indented
from llama_conversations.wire.base import JsonValue

MAX_LINES = 40
MAX_WIDTH = 160
CONTEXT = 2
_WORD = re.compile(r"\w+")
_LEAD = 40
"""What is shown of a long line before the place where it begins to differ."""


def difference_to_nearest(request: JsonValue, recordings: Iterable[tuple[str, Recording]]) -> str:
    """A unified diff from the nearest recorded request to this one, of at most 40 lines of at most 160 characters.

    The nearest is the one with the most words in common. Empty when there is none.
    """
    asked, words = _lines(request), _words(request)
    nearest: tuple[str, Recording] | None = None
    best = 0.0
    for name, recording in recordings:
        likeness = _likeness(words, _words(recording.request))
        if likeness > best:
            nearest, best = (name, recording), likeness
    if nearest is None:
        return ""
    name, recording = nearest
    diff = list(_diff(name, _lines(recording.request), asked))
    left = len(diff) - MAX_LINES
    return "\n".join([*diff[:MAX_LINES], f"… and {left} lines more"] if left > 0 else diff)


def _lines(form: JsonValue) -> Sequence[str]:
    return indented(form).split("\n")


def _words(form: JsonValue) -> Counter[str]:
    return Counter(_WORD.findall(indented(form)))


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """From 0 to 1: how many words are in both, wherever they stand."""
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def _diff(name: str, recorded: Sequence[str], asked: Sequence[str]) -> Iterator[str]:
    """As ``difflib.unified_diff``, but of long lines that differ it shows the place where they do."""
    yield f"--- {name}"
    yield "+++ this request"
    for group in SequenceMatcher(None, recorded, asked).get_grouped_opcodes(CONTEXT):
        (_, old, _, new, _), (_, _, old_end, _, new_end) = group[0], group[-1]
        yield f"@@ -{old + 1},{old_end - old} +{new + 1},{new_end - new} @@"
        for tag, start, end, other_start, other_end in group:
            if tag == "equal":
                yield from (_narrow(f" {line}", 0) for line in recorded[start:end])
            else:
                yield from _change(recorded[start:end], asked[other_start:other_end])


def _change(removed: Sequence[str], added: Sequence[str]) -> Iterator[str]:
    for sign, lines, others in (("-", removed, added), ("+", added, removed)):
        for line, other in zip_longest(lines, others[: len(lines)], fillvalue=""):
            yield _narrow(sign + line, _common_length(line, other))


def _common_length(one: str, other: str) -> int:
    """How many characters both begin with."""
    differing = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def _narrow(line: str, same: int) -> str:
    """The line cut to width, from shortly before the place at which it is no longer the same as another."""
    if len(line) <= MAX_WIDTH:
        return line
    skipped = max(0, same - _LEAD)
    text = ("…" if skipped else "") + line[1 + skipped :]
    return line[0] + (text if len(text) < MAX_WIDTH else text[: MAX_WIDTH - 2] + "…")
