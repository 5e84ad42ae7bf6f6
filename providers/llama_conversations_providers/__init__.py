"""The providers that come with llama-conversations. Importing this is light: factories are named, not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_conversations.stack.provider_spec import ProviderSpec

__all__ = ["provider_specs"]


def provider_specs() -> list[ProviderSpec]:
    """Every built-in kind of provider; named by the entry point ``llama_conversations.providers``."""
    # only who asks for the specs pays for pydantic
    from llama_conversations_providers import inference, tool_runtime, web_search

    return [*inference.specs(), *tool_runtime.specs(), *web_search.specs()]
