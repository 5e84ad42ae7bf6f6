"""``stack config …``: configurations as the server understands them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from llama_conversations.cli.failures import told_plainly
from llama_conversations.cli.options import Source, Variables, environment

if TYPE_CHECKING:
    from llama_conversations.config import LoadedConfig

app = typer.Typer(help="Look into a configuration.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Look into a configuration."""


@app.command()
def show(source: Source, *, env: Variables = None) -> None:
    """Print a configuration with all defaults and variables put in; secrets are masked."""
    import yaml

    from llama_conversations.config import mask_secrets
    from llama_conversations.stack.loading import load_stack_config
    from llama_conversations.stack.registry import provider_specs

    environ = environment(env)
    with told_plainly():
        loaded = load_stack_config(source, environ, provider_specs())
    typer.echo(f"# {loaded.source}")
    for line in _skipped(loaded):
        typer.echo(f"# {line}")
    typer.echo(yaml.safe_dump(mask_secrets(loaded.config), sort_keys=False, allow_unicode=True), nl=False)


def _skipped(loaded: LoadedConfig) -> Iterator[str]:
    for provider in loaded.skipped_providers:
        name = provider.provider_id or provider.provider_type
        yield f"skipped: {provider.api} provider {name} ({provider.provider_type}): {provider.reason}"
    for model in loaded.skipped_models:
        yield f"skipped: model {model.model_id}: {model.reason}"
