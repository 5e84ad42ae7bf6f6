"""Identifiers: ``<prefix>_<hex>``, whose first eight hex digits are a partition token.

The token is random for a conversation and for a response that starts a chain of its own; everything that belongs to
one of them (its items, the responses made in it) inherits it. So any id alone tells its partition, without a look-up.
"""

from __future__ import annotations

import re
from os import urandom

PARTITION_DIGITS = 8
CONVERSATION_PREFIX = "conv"
RESPONSE_PREFIX = "resp"
PROMPT_PREFIX = "pmpt"

_HEX_DIGITS = {RESPONSE_PREFIX: 50}
_DEFAULT_HEX_DIGITS = 48
_PARTITION = re.compile(r"^[a-z]+_([0-9a-f]{8})[0-9a-f]{40,42}$")

MAX_ID_LENGTH = 64
"""Of any id; a client's own are opaque beyond that and their characters."""


def new_partition() -> str:
    """A random partition token: eight lower-case hex digits."""
    return urandom(PARTITION_DIGITS // 2).hex()


def new_id(prefix: str, partition: str | None = None) -> str:
    """A new id: ``prefix_`` and 48 hex digits (50 for ``resp``), the first eight being the partition token."""
    digits = _HEX_DIGITS.get(prefix, _DEFAULT_HEX_DIGITS)
    return f"{prefix}_{partition or new_partition()}{urandom((digits - PARTITION_DIGITS) // 2).hex()}"


def partition_in(identifier: str) -> str | None:
    """The partition token of one of our ids; ``None`` for an id that a client or another server chose."""
    match = _PARTITION.match(identifier)
    return match.group(1) if match else None


def partition_of(identifier: str) -> str:
    """As ``partition_in``, with a new token where there is none."""
    return partition_in(identifier) or new_partition()


def new_call_id() -> str:
    """A tool call's id, for upstreams that send none: ``call_`` and 24 letters or digits."""
    return f"call_{urandom(12).hex()}"
