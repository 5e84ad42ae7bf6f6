"""Credentials out of what is recorded: a tool that is a server carries the caller's own for it."""

from __future__ import annotations

from collections.abc import Mapping

from llama_conversations.config.masking import mask_secrets
from llama_conversations.wire.base import JsonValue

HIDDEN = "<secret>"


def without_credentials(value: JsonValue) -> JsonValue:
    """The value with nothing in it that opens a tool's server (OpenAI API reference, ``MCPTool``): not the
    ``authorization``, not the ``headers``, no password or key in the ``server_url``. Upstreams echo them in answers.
    """
    if isinstance(value, list):
        return [without_credentials(element) for element in value]
    if not isinstance(value, dict):
        return value
    hidden = _hidden(value) if value.get("type") == "mcp" or isinstance(value.get("server_url"), str) else {}
    return {key: hidden[key] if key in hidden else without_credentials(entry) for key, entry in value.items()}


def _hidden(tool: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """What stands in the place of a tool's credentials."""
    hidden: dict[str, JsonValue] = {}
    if isinstance(tool.get("server_url"), str):
        hidden["server_url"] = mask_secrets(tool["server_url"])
    if isinstance(tool.get("authorization"), str):
        hidden["authorization"] = HIDDEN
    headers = tool.get("headers")
    if isinstance(headers, dict):
        hidden["headers"] = dict.fromkeys(headers, HIDDEN)
    return hidden
