"""How many tokens a request has, roughly, where the model server cannot count them.

Tokenizers differ, so this is a rule of thumb that leans to the high side. By text: ASCII letters and blanks four to a
token, ASCII digits and signs two to a token; characters of two bytes in UTF-8 (accents, Cyrillic, Greek, Arabic,
Hebrew) two to a token, those of three (Chinese, Japanese, Korean, Indic) one each, those of four (emoji) two each. For
English that is OpenAI's "about 4 characters"; against SmolLM2's tokenizer, English, Python and JSON come to between 0.9
and 1.15 of the real count. Long numbers and base64 are counted too low.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import ascii_letters
from typing import cast

import orjson

from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.items import Item

__all__ = ["item_tokens", "least_tokens", "request_tokens", "text_tokens"]

MESSAGE_TOKENS = 4
"""What frames a message: its role, its begin and its end (OpenAI Cookbook, "How to count tokens": 3 or 4)."""

REPLY_TOKENS = 3
"""What begins the answer (ibid.)."""

IMAGE_TOKENS = 765
"""An image of 1024 by 1024 pixels in high detail (OpenAI API guide, images and vision, GPT-4o)."""

LOW_DETAIL_IMAGE_TOKENS = 85
"""An image in low detail (ibid.)."""

AUDIO_CHARACTERS_PER_TOKEN = 2133
"""Ten tokens a second (OpenAI API guide, audio input) of MP3 at 128 kbit/s, in base64."""

FILE_CHARACTERS_PER_TOKEN = 5.33
"""Four bytes to a token, in base64: as if the file were plain text."""

_PLAIN = (ascii_letters + " \t\r\n").encode()
_NOT_ASCII = bytes(range(0x80, 0x100))
_NOT_FIRST_OF_FOUR = bytes(range(0xF0))

_WORD = re.compile(r"\S+", re.ASCII)

_UNSEEN = frozenset(
    ("annotations", "call_id", "encrypted_content", "id", "logprobs", "role", "status", "tool_call_id", "type")
)
"""Keys of messages and items whose values frame or name them: not told to the model, or counted in the frame."""


def request_tokens(body: bytes) -> int:
    """The estimate for a request, as it is sent: messages (items, in the Responses API), tools and the format."""
    request = cast("JsonObject", orjson.loads(body))
    messages = cast("list[JsonValue]", request.get("messages") or request.get("input") or [])
    total = REPLY_TOKENS + sum(MESSAGE_TOKENS + _tokens(message) for message in messages)
    if "instructions" in request:
        total += MESSAGE_TOKENS + _tokens(request["instructions"])
    return total + sum(_schema_tokens(request[key]) for key in ("tools", "response_format", "text") if key in request)


def least_tokens(body: bytes) -> int:
    """A number of tokens that a request, as for ``request_tokens``, has at the very least: that of its words.

    Tokenizers cut a text at its blanks before all else (the patterns of GPT, Llama 3 and Qwen; SentencePiece, where
    ``split_by_whitespace`` is the default), so no token reaches from one word into the next. Only what users and tools
    say and instructions are looked at: of an assistant's earlier answers templates leave out what they like.
    """
    request = cast("JsonObject", orjson.loads(body))
    said = cast("list[JsonObject]", request.get("messages") or request.get("input") or [])
    told = [each.get("content") or each.get("output") for each in said if each.get("role") != "assistant"]
    return sum(len(_WORD.findall(text)) for value in (*told, request.get("instructions")) for text in _texts(value))


def _texts(content: JsonValue) -> Iterator[str]:
    """The text of a message's content, or of a tool's output."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        yield from (text for text in parts if isinstance(text, str))


def item_tokens(item: Item) -> int:
    """The estimate for one item of a history."""
    return MESSAGE_TOKENS + _tokens(cast("JsonValue", item.model_dump(exclude_unset=True)))


def text_tokens(text: str) -> int:
    """The estimate for a text."""
    data = text.encode("utf-8", "surrogatepass")
    plain = len(data) - len(data.translate(None, _PLAIN))
    single = len(text) if text.isascii() else len(data.translate(None, _NOT_ASCII))
    four = 0 if text.isascii() else len(data.translate(None, _NOT_FIRST_OF_FOUR))
    # Characters of two and of three bytes follow from how many characters and bytes there are.
    three = len(data) - single - 4 * four - 2 * (len(text) - single - four)
    two = len(text) - single - three - four
    return (plain + 2 * (single - plain) + 2 * two + 4 * three + 8 * four + 3) // 4


def _schema_tokens(value: JsonValue) -> int:
    """JSON that the model is shown as such: names, types and braces count."""
    return text_tokens(orjson.dumps(value).decode())


def _tokens(value: JsonValue) -> int:
    """The strings inside a message or an item; not recursive, since tools may answer with JSON of any depth."""
    total = 0
    pending = [value]
    while pending:
        here = pending.pop()
        if isinstance(here, str):
            total += text_tokens(here)
        elif isinstance(here, list):
            pending.extend(here)
        elif isinstance(here, dict):
            attached = _attached_tokens(here)
            if attached is None:
                pending.extend(member for key, member in here.items() if key not in _UNSEEN)
            else:
                total += attached
    return total


def _attached_tokens(part: Mapping[str, JsonValue]) -> int | None:
    """For a part that carries data: an image, audio or a file, as either API writes it; else ``None``."""
    match part:
        case {"type": "input_image" | "computer_screenshot", **image}:
            return LOW_DETAIL_IMAGE_TOKENS if image.get("detail") == "low" else IMAGE_TOKENS
        case {"type": "image_url", "image_url": {**image}}:
            return LOW_DETAIL_IMAGE_TOKENS if image.get("detail") == "low" else IMAGE_TOKENS
        case {"type": "input_audio", "input_audio": {"data": str(data)}}:
            return 1 + len(data) // AUDIO_CHARACTERS_PER_TOKEN
        case {"type": "input_file", "file_data": str(data)}:
            return 1 + int(len(data) / FILE_CHARACTERS_PER_TOKEN)
        case _:
            return None
