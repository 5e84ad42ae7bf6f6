"""``stack config …``: configurations as the server understands them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from llama_conversations.cli.failures import told_plainly
from llama_conversations.cli.options import Source, Variables, environment

if TYPE_CHECKING:
    from llama_conversations.config import LoadedConfig
    from llama_conversations.stack.registry import ProviderSpecs
    from llama_conversations.wire.base import JsonValue

app = typer.Typer(help="Look into a configuration.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Look into a configuration."""  # with one command alone, typer would drop the name of it


@app.command()
def show(source: Source, *, env: Variables = None) -> None:
    """Print a configuration with variables and defaults put in, and secrets masked."""
    import yaml

    from llama_conversations.config.loader import load_document
    from llama_conversations.stack.loading import read_stack_document
    from llama_conversations.stack.registry import provider_specs

    environ = environment(env)
    with told_plainly():
        specs = provider_specs()
        loaded = load_document(read_stack_document(source, specs), environ)
    typer.echo(f"# {loaded.source}")
    for line in _skipped(loaded):
        typer.echo(f"# skipped: {line}")
    typer.echo(yaml.safe_dump(_shown(loaded, specs), sort_keys=False, allow_unicode=True), nl=False)


def _skipped(loaded: LoadedConfig) -> Iterator[str]:
    for provider in loaded.skipped_providers:
        name = provider.provider_id or "without a name"
        yield f"{provider.api} provider {name} ({provider.provider_type}): {provider.reason}"
    for model in loaded.skipped_models:
        yield f"model {model.model_id}: {model.reason}"


def _shown(loaded: LoadedConfig, specs: ProviderSpecs) -> JsonValue:
    """The configuration as plain values, the providers' settings read as they themselves read them, where they can."""
    from llama_conversations.config import mask_secrets
    from llama_conversations.stack.resolver import resolve_provider

    providers = {
        api: [
            dict(entry) | ({"config": resolved.config} if resolved else {})
            for entry in entries
            for resolved, _ in [resolve_provider(api, entry, (), specs)]
        ]
        for api, entries in loaded.config.providers.items()
    }
    return mask_secrets(dict(loaded.config) | {"providers": providers})
