"""From a resolved provider to its implementation: the factory is imported here, and only here."""

from __future__ import annotations

import importlib
from typing import cast

from llama_conversations.config.findings import Finding, config_error
from llama_conversations.errors import ConfigError
from llama_conversations.stack.known_apis import PROVIDER_APIS
from llama_conversations.stack.provider_spec import (
    Provider,
    ProviderContext,
    ProviderFactory,
    SharedFactory,
    SharedPart,
)
from llama_conversations.stack.resolver import ResolvedProvider


def make_provider(resolved: ResolvedProvider, context: ProviderContext, source: str) -> Provider:
    """Make a provider; it is not initialized.

    Errors: ``ConfigError`` when its package cannot be imported or does not give what it should; whatever the factory
    raises.
    """
    factory = cast("ProviderFactory", _imported(resolved, resolved.spec.factory, source))
    provider = factory(context)
    protocol = PROVIDER_APIS.get(resolved.api, Provider)
    if not isinstance(provider, protocol):
        reason = f"does not implement {protocol.__name__}: {type(provider).__name__} lacks some of its methods"
        raise _unusable(resolved, resolved.spec.factory, source, reason)
    return provider


def make_shared_part(resolved: ResolvedProvider, context: ProviderContext, source: str) -> SharedPart:
    """Make what the workers' providers share; it is not initialized. Errors: as of ``make_provider``."""
    return cast("SharedFactory", _imported(resolved, resolved.spec.shared or "", source))(context)


def _imported(resolved: ResolvedProvider, path: str, source: str) -> object:
    module, _, function = path.partition(":")
    try:
        return cast("object", getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError) as error:
        raise _unusable(resolved, path, source, f"cannot be loaded: {error}") from error


def _unusable(resolved: ResolvedProvider, path: str, source: str, reason: str) -> ConfigError:
    return config_error(source, [Finding(resolved.path, f"{resolved.spec.provider_type} ({path}) {reason}")])
