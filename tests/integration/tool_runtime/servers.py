"""Names for the scripted MCP server, and how callers speak of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from llama_conversations.apis.tools import ToolServer
from llama_conversations_providers.tool_runtime.mcp.addresses import IPAddress
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime

Start = Callable[..., Awaitable[McpToolRuntime]]

LOOPBACK = {"allow": ["127.0.0.1"]}
"""A policy that lets callers in to the scripted server, by its address."""


class Names:
    """A resolver that knows some names. Of several answers each is given once, the last again and again."""

    def __init__(self, known: dict[str, list[str]]) -> None:
        self._known = {name: list(answers) for name, answers in known.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> list[IPAddress]:
        self.asked.append(name)
        if name not in self._known:
            raise OSError(f"no such name: {name}")
        answers = self._known[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ip_address(text) for text in answer.split()]


def at(url: str, headers: dict[str, str] | None = None, authorization: str | None = None) -> ToolServer:
    """A server as a caller names it."""
    return ToolServer("weather", url, headers or {}, authorization)
