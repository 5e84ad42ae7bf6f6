"""How search services that are widely used are asked, and how they answer; run.yaml may set any of it otherwise.

Sources: SearXNG, "Search API" (``format`` must be enabled in its settings.yml); Brave Search API, "Web Search";
Tavily, "POST /search".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

Preset = Literal["searxng", "brave", "tavily"]

PRESETS: Mapping[Preset, Mapping[str, JsonValue]] = {
    "searxng": {"parameters": {"format": "json"}},
    "brave": {
        "url": "https://api.search.brave.com/res/v1/web/search",
        "count_parameter": "count",
        "api_key_header": "X-Subscription-Token",
        # sections of which nothing was found are left out
        "answer": {"results": "web.results", "snippet": "description", "may_lack_results": True},
    },
    "tavily": {
        "url": "https://api.tavily.com/search",
        "method": "POST",
        "query_parameter": "query",
        "count_parameter": "max_results",
        "domains_parameter": "include_domains",
    },
}
"""Settings of ``WebSearchConfig`` by preset."""
