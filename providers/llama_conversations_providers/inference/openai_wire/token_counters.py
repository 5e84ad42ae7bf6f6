"""How many tokens a chat completion request costs to read, asked of model servers that can tell."""

from __future__ import annotations

import asyncio
from typing import Protocol

import orjson

from llama_conversations.errors import StackError
from llama_conversations.log import get_logger
from llama_conversations_providers.inference.openai_wire.config import TokenCounter

log = get_logger(__name__)

COUNT_SECONDS = 5.0
"""How long counting may take in all: an estimate is at hand, and a turn waits."""

_COUNTED = ("model", "messages", "tools")
"""What of a request the model reads."""


class _Server(Protocol):
    async def post_beside(self, path: str, body: bytes) -> bytes: ...


async def count_tokens(server: _Server, counter: TokenCounter, body: bytes) -> int | None:
    """The tokens of a chat completion request; ``None`` where the server has no counter, or it fails."""
    if counter == "none":
        return None
    try:
        asked = orjson.loads(body)
        request = {name: asked[name] for name in _COUNTED if name in asked}
        async with asyncio.timeout(COUNT_SECONDS):
            counted = await (_ask_llama_cpp if counter == "llama-cpp" else _ask_vllm)(server, request)
    except (StackError, TimeoutError, ValueError, KeyError, TypeError) as error:
        log.debug("tokens cannot be counted: %s: %s", type(error).__name__, error)
        return None
    return counted


async def _ask_llama_cpp(server: _Server, request: dict[str, object]) -> int:
    """llama.cpp's server writes the prompt, then cuts it into tokens (its README, ``/apply-template``, ``/tokenize``).

    The template has written whatever begins a text, and special tokens by their names.
    """
    prompt = orjson.loads(await server.post_beside("apply-template", orjson.dumps(request)))["prompt"]
    cut = {"content": prompt, "add_special": False, "parse_special": True}
    return len(orjson.loads(await server.post_beside("tokenize", orjson.dumps(cut)))["tokens"])


async def _ask_vllm(server: _Server, request: dict[str, object]) -> int:
    """vLLM's ``/tokenize`` takes messages and applies the template itself."""
    count = orjson.loads(await server.post_beside("tokenize", orjson.dumps(request)))["count"]
    if not isinstance(count, int):
        raise TypeError("the count is no number")
    return count
