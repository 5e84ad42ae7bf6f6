"""Thoughts that a model writes into its answer, between tags, told from the answer itself.

Model servers that know a model's tags send its thoughts apart (``reasoning_content``); others, and the same ones
without the matching option (vLLM, ``--reasoning-parser``), leave them in the text. The rules are those of Ollama's
parser (``thinking/parser.go``): only an answer's very beginning is looked at, blanks around the thoughts are dropped,
and the first closing tag ends them.

Not told apart: thoughts without an opening tag, since some chat templates put that into the prompt (DeepSeek-R1,
Qwen3-Thinking: the server has to parse those), and gpt-oss's harmony channels, which are no tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from types import MappingProxyType
from typing import cast

from llama_conversations.services.responses.chat_deltas import Delta, ReasoningDelta, TextDelta
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.responses import Usage

__all__ = ["TAGS", "ThinkTags"]

TAGS: Mapping[str, str] = MappingProxyType(
    {
        "<think>": "</think>",  # DeepSeek, Qwen3, QwQ, GLM, MiniMax M2, Nemotron, SmolLM3 and most others
        "<thinking>": "</thinking>",  # Amazon Nova
        "<thought>": "</thought>",  # EXAONE Deep; Gemini's chat completions
        "<seed:think>": "</seed:think>",  # Seed-OSS
        "<mm:think>": "</mm:think>",  # MiniMax M3
        "[THINK]": "[/THINK]",  # Magistral, Ministral
        "◁think▷": "◁/think▷",  # Kimi-VL Thinking
    }
)
"""Opening and closing tags that models are trained to write (model cards; vLLM's and SGLang's reasoning parsers).

Others, such as ``<reasoning>``, come from prompts that ask for them: whoever asked wants to see them. No closing tag
holds its first character twice."""

_BLANK = " \t\r\n"


class _Stage(Enum):
    START = auto()
    """Nothing but blanks and what may become an opening tag was seen."""
    THOUGHTS = auto()
    AFTER = auto()
    """The closing tag was seen, and nothing but blanks behind it."""
    ANSWER = auto()


class ThinkTags:
    """Splits one answer, delta by delta; what is left whole is passed on as the very object that came.

    Text is held back only while it may be (part of) a tag, or blanks before one.
    """

    def __init__(self) -> None:
        self._stage = _Stage.START
        self._held: list[TextDelta] = []
        self._pending = ""
        self._closing = ""
        self._thought = False

    def add(self, delta: Delta) -> Sequence[Delta]:
        """What is certain once this delta is known; it may be nothing.

        What is no text is passed on, behind what was held. It ends an answer's beginning: a model whose server sends
        its thoughts apart opens no tag.
        """
        if self._stage is _Stage.ANSWER or isinstance(delta, Usage):  # some servers count in every chunk
            return (delta,)
        if not isinstance(delta, TextDelta):
            held = self.close()
            if self._stage is _Stage.START:
                self._stage = _Stage.ANSWER
            return (*held, delta)
        if self._stage is _Stage.START:
            return self._begin(delta)
        if self._stage is _Stage.THOUGHTS:
            return tuple(self._think(delta.text, delta.logprobs))
        return tuple(self._answer(delta.text, delta.logprobs))

    def close(self) -> Sequence[Delta]:
        """The text has ended: what was held is what it looks like. Thoughts that were never closed are thoughts."""
        if self._stage is _Stage.THOUGHTS:
            pending, self._pending = self._pending, ""
            return (ReasoningDelta(pending),) if pending else ()
        held = tuple(self._held)
        self._held.clear()
        return held

    def _begin(self, delta: TextDelta) -> Sequence[Delta]:
        self._held.append(delta)
        self._pending += delta.text if self._pending else delta.text.lstrip(_BLANK)
        seen = self._pending
        for opening, closing in TAGS.items():
            if seen.startswith(opening):
                self._stage, self._closing, self._pending = _Stage.THOUGHTS, closing, ""
                self._held.clear()
                return tuple(self._think(seen[len(opening) :], delta.logprobs))
        if any(opening.startswith(seen) for opening in TAGS):
            return ()
        self._stage = _Stage.ANSWER
        return self.close()

    def _think(self, text: str, logprobs: Sequence[JsonValue]) -> Iterator[Delta]:
        text = self._pending + text
        if not self._thought:
            text = text.lstrip(_BLANK)
        end = text.find(self._closing)
        certain = text[:end].rstrip(_BLANK) if end >= 0 else _certain(text, self._closing)
        if certain:
            self._thought = True
            yield ReasoningDelta(certain)
        if end >= 0:
            self._stage, self._pending = _Stage.AFTER, ""
            yield from self._answer(text[end + len(self._closing) :], logprobs)
        else:
            self._pending = text[len(certain) :]

    def _answer(self, text: str, logprobs: Sequence[JsonValue]) -> Iterator[Delta]:
        text = text.lstrip(_BLANK)
        if text:
            self._stage = _Stage.ANSWER
            yield TextDelta(text, _last(logprobs, len(text)))


def _certain(text: str, closing: str) -> str:
    """Thoughts without what may become the closing tag, or blanks before it."""
    begin = text.rfind(closing[0], max(0, len(text) - len(closing) + 1))
    if begin >= 0 and closing.startswith(text[begin:]):
        text = text[:begin]
    return text.rstrip(_BLANK)


def _last(logprobs: Sequence[JsonValue], characters: int) -> Sequence[JsonValue]:
    """The entries of the text's last characters; a token that only partly belongs to them is left out."""
    begin = len(logprobs)
    while begin:
        characters -= len(cast("str", cast("JsonObject", logprobs[begin - 1])["token"]))
        if characters < 0:
            break
        begin -= 1
    return logprobs[begin:]
