"""From a resolved provider to its implementation: the factory is imported here, and only here."""

from __future__ import annotations

import importlib
from typing import cast

from llama_conversations.config.findings import Finding, config_error
from llama_conversations.errors import ConfigError
from llama_conversations.stack.known_apis import PROVIDER_APIS
from llama_conversations.stack.provider_spec import Provider, ProviderContext, ProviderFactory
from llama_conversations.stack.resolver import ResolvedProvider


def make_provider(resolved: ResolvedProvider, context: ProviderContext, source: str) -> Provider:
    """Make a provider; it is not initialized.

    Errors: ``ConfigError`` when its package cannot be imported or does not give what it should; whatever the factory
    raises.
    """
    try:
        factory = _import_factory(resolved.spec.factory)
    except (ImportError, AttributeError) as error:
        raise _unusable(resolved, source, f"cannot be loaded: {error}") from error
    provider = factory(context)
    protocol = PROVIDER_APIS.get(resolved.api, Provider)
    if not isinstance(provider, protocol):
        reason = f"does not implement {protocol.__name__}: {type(provider).__name__} lacks some of its methods"
        raise _unusable(resolved, source, reason)
    return provider


def _import_factory(path: str) -> ProviderFactory:
    module, _, function = path.partition(":")
    return cast("ProviderFactory", getattr(importlib.import_module(module), function))


def _unusable(resolved: ResolvedProvider, source: str, reason: str) -> ConfigError:
    spec = resolved.spec
    return config_error(source, [Finding(resolved.path, f"{spec.provider_type} ({spec.factory}) {reason}")])
