"""System messages as chat templates take them: those at the beginning as one, and where need be none further on.

Many templates know one system message, at the beginning. Qwen's refuse another from 3.5 on, over whatever server
(ggml-org/llama.cpp#27367, vllm-project/vllm#41114, ollama/ollama#17774); that of gpt-oss leaves it out without a word
(lmstudio-ai/lmstudio-bug-tracker#2264).

This works on messages that are written already, wherever they were kept, and looks at no more of them than it must. It
can, for a system message's beginning stands nowhere else: within a text its quotes would be escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llama_conversations.apis.inference import SystemMessages

__all__ = ["message_array"]

_TEXT = rb'"((?:[^"\\]++|\\.)*+)"'
_PART = rb'\{"type":"text","text":%b\}' % _TEXT
_FROM_SYSTEM = b'{"role":"system","content":'
_FROM_USER = b'{"role":"user","content":'

_SYSTEM_TEXT = re.compile(rb"%b(?:%b|\[((?:%b,?)*)\])\}(?:,|\Z)" % (re.escape(_FROM_SYSTEM), _TEXT, _PART))
_PARTS_TEXT = re.compile(_PART)


def message_array(messages: Sequence[bytes], taken: SystemMessages) -> bytes:
    """The array of a request's messages.

    System messages of text that stand at its beginning become one, their texts with a blank line between them. As soon
    as anything else stands behind it, it stays as it is: the array of a longer history begins as a shorter one's.

    Args:
        messages: Chat messages as JSON, as ``chat_messages`` writes them; or several in one, with commas between.
        taken: Where the model server takes system messages. With ``first``, those further on are told as the user's.
    """
    written = b",".join(messages)
    texts: list[bytes] = []
    count = end = 0
    while (found := _SYSTEM_TEXT.match(written, end)) is not None:
        texts += [found[1]] if found[2] is None else _PARTS_TEXT.findall(found[2])
        count, end = count + 1, found.end()
    head, rest = written[:end], written[end:]
    if count > 1:
        head = b'%b"%b"}%b' % (_FROM_SYSTEM, rb"\n\n".join(filter(None, texts)), b"," if rest else b"")
    if taken == "first":
        kept = 0 if head else 1  # one of more than text, at the very beginning
        rest = rest[:kept] + rest[kept:].replace(_FROM_SYSTEM, _FROM_USER)
    return b"[%b%b]" % (head, rest)
