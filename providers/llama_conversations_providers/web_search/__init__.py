"""Providers of the ``web_search`` API."""

from __future__ import annotations

from llama_conversations.stack.provider_spec import ProviderSpec
from llama_conversations_providers.web_search.remote.config import WebSearchConfig

__all__ = ["specs"]


def specs() -> list[ProviderSpec]:
    """One spec: any search service that answers over HTTP in JSON."""
    return [
        ProviderSpec(
            api="web_search",
            provider_type="remote::web-search",
            config_class=WebSearchConfig,
            factory="llama_conversations_providers.web_search.remote.provider:create",
            description="A search service: SearXNG, Brave, Tavily, or any that answers in JSON",
        )
    ]
