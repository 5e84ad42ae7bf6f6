"""Providers of the ``tool_runtime`` API."""

from __future__ import annotations

from llama_conversations.stack.provider_spec import ProviderSpec
from llama_conversations_providers.tool_runtime.mcp.config import McpConfig

__all__ = ["specs"]


def specs() -> list[ProviderSpec]:
    """One spec: the tools of MCP servers."""
    return [
        ProviderSpec(
            api="tool_runtime",
            provider_type="inline::mcp",
            config_class=McpConfig,
            factory="llama_conversations_providers.tool_runtime.mcp.provider:create",
            description="Tools of MCP servers, over streamable HTTP",
            pip_packages=("mcp>=2.3",),
        )
    ]
