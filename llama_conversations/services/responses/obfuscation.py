"""Padding that hides how long the pieces of a streamed answer are.

Who watches an encrypted stream sees the size of every event, and token lengths tell much of a text (Weiss et al., "What
Was Your Prompt? A Remote Keylogging Attack on AI Assistants", 2024). So delta events carry random characters in a field
``obfuscation`` (OpenAI API reference, ``stream_options.include_obfuscation``). As observed live, delta and padding
together are 16 characters long, and a delta of 32 has none: lengths are filled up to blocks of 16.
"""

from __future__ import annotations

from binascii import b2a_base64
from os import urandom

__all__ = ["BLOCK", "padding_for"]

BLOCK = 16
"""Characters that delta and padding fill, or a multiple of them: more than nearly all tokens have."""

_RANDOM_BYTES = BLOCK * 3 // 4


def padding_for(length: int) -> str:
    """Random characters that fill ``length`` up to a multiple of 16: none to 15, no two alike, so none compress away.

    Args:
        length: Of the delta. Bytes as they are written (JSON's escapes, UTF-8) hide more than characters do: then all
            events of a kind have sizes that differ by multiples of 16 only.
    """
    return b2a_base64(urandom(_RANDOM_BYTES), newline=False)[: -length % BLOCK].decode()
