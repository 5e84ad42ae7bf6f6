"""When to ask a model server again, and after how long."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime

FIRST_DELAY_SECONDS = 0.25
MAX_DELAY_SECONDS = 8.0
MAX_RETRY_AFTER_SECONDS = 5.0
"""A server that asks for a longer pause is not asked again: its answer goes to the caller, who waits better than a turn
that holds its conversation."""

_REPEATABLE = frozenset({408, 409, 429})


def is_repeatable(status: int) -> bool:
    """Whether a refusal of that status may be gone the next time (what OpenAI's own clients repeat)."""
    return status in _REPEATABLE or status >= 500


def delay_before(retry: int, retry_after: str | None = None) -> float | None:
    """Seconds to wait before the ``retry``-th repetition, from 0; ``None`` when the server asks for too long a pause.

    Args:
        retry: How many repetitions there were.
        retry_after: The header, seconds or an HTTP date (RFC 9110, 10.2.3); anything else is taken for absent.
    """
    asked = _seconds(retry_after)
    if asked is not None:
        return asked if asked <= MAX_RETRY_AFTER_SECONDS else None
    delay = min(FIRST_DELAY_SECONDS * 2.0**retry, MAX_DELAY_SECONDS)
    return delay * (1 - random.random() / 4)  # noqa: S311 (jitter, so that clients do not come back all at once)


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
