"""``stack list …``: what is installed, and what a server has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llama_conversations.cli.failures import FAILED, told_plainly

app = typer.Typer(help="List what is installed, or the models of a running server.", no_args_is_help=True)

DEFAULT_URL = "http://localhost:8321"
ASK_SECONDS = 10.0


@app.command()
def distributions() -> None:
    """List the ready-made configurations that are installed."""
    from llama_conversations.config import list_distributions

    rows = [(found.name, str(found.file)) for found in list_distributions()]
    _print_table(("distribution", "file"), rows)


@app.command()
def providers() -> None:
    """List the types of providers that are installed."""
    from llama_conversations.stack.registry import provider_specs

    with told_plainly():
        specs = provider_specs()
    rows = [(spec.api, spec.provider_type, spec.description) for spec in specs.values()]
    _print_table(("api", "provider type", "what it is"), rows)


@app.command()
def apis() -> None:
    """List the APIs, and who implements them."""
    from llama_conversations.stack.known_apis import PROVIDER_APIS, SERVICE_APIS

    rows = [(name, "this server") for name in SERVICE_APIS] + [(name, "providers") for name in PROVIDER_APIS]
    _print_table(("api", "implemented by"), sorted(rows))


@app.command()
def models(*, url: Annotated[str, typer.Option(help="The server to ask.")] = DEFAULT_URL) -> None:
    """List the models of a running server."""
    from llama_conversations.cli.asking import NoAnswer, ask_for_models

    try:
        found = ask_for_models(url, ASK_SECONDS)
    except NoAnswer as error:
        typer.echo(f"Error: {error}\nStart a server with 'stack run starter', or name another one by --url.", err=True)
        raise typer.Exit(FAILED) from None
    _print_table(("model", "provider"), [(model.id, model.provider_id) for model in found.data])


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their content, so that a line stays a line when it is piped on."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
