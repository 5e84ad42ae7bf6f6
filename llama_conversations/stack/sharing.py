"""What the workers of one server share, opened once by the process that supervises them.

A provider that keeps something large, such as a model in memory, names a factory of it in its spec (``shared``). What
that opens answers with settings, and every worker's own provider gets these over those of run.yaml.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from llama_conversations.config.loader import LoadedConfig
from llama_conversations.config.run_config import ProviderEntry
from llama_conversations.stack.factories import make_shared_part
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.stack.registry import ProviderSpecs
from llama_conversations.stack.resolver import ResolvedProvider, resolve
from llama_conversations.wire.base import JsonValue

_Settings = Mapping[tuple[str, str], Mapping[str, JsonValue]]


@asynccontextmanager
async def shared_parts(loaded: LoadedConfig, specs: ProviderSpecs) -> AsyncIterator[LoadedConfig]:
    """Open what workers share; gives the configuration for them, and closes everything at the end.

    Errors: ``ConfigError``, and whatever a part fails to open with.
    """
    async with AsyncExitStack() as opened:
        settings = {
            (resolved.api, resolved.provider_id): await _open(resolved, loaded.source, opened)
            for resolved in resolve(loaded, specs)
            if resolved.spec.shared is not None
        }
        yield _with_settings(loaded, settings)


async def _open(resolved: ResolvedProvider, source: str, opened: AsyncExitStack) -> Mapping[str, JsonValue]:
    part = make_shared_part(resolved, ProviderContext(resolved.provider_id, resolved.config, {}), source)
    opened.push_async_callback(part.shutdown)
    await part.initialize()
    return part.settings


def _with_settings(loaded: LoadedConfig, settings: _Settings) -> LoadedConfig:
    providers = {
        api: _entries_with(entries, {name: own for (of, name), own in settings.items() if of == api})
        for api, entries in loaded.config.providers.items()
    }
    return replace(loaded, config=loaded.config.model_copy(update={"providers": providers}))


def _entries_with(
    entries: Sequence[ProviderEntry], settings: Mapping[str, Mapping[str, JsonValue]]
) -> Sequence[ProviderEntry]:
    return [
        entry.model_copy(update={"config": {**entry.config, **settings.get(entry.provider_id, {})}})
        for entry in entries
    ]
