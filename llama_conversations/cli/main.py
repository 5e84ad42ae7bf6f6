"""The commands and their options; what they do is in the modules that they import when they are called."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from llama_conversations.cli import config_commands, db_commands, list_commands
from llama_conversations.cli.failures import FAILED, problem_list, told_plainly
from llama_conversations.cli.options import Source, Variables, environment

app = typer.Typer(
    name="stack",
    help="An OpenAI-compatible Conversations and Responses server, in front of any model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(list_commands.app, name="list")
app.add_typer(config_commands.app, name="config")
app.add_typer(db_commands.app, name="db")


@app.command()
def run(  # noqa: PLR0913 each is an argument or an option of the command
    source: Source,
    *,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0: all of them.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that serve the port together, on one database.")
    ] = None,
    providers: Annotated[
        str | None,
        typer.Option(metavar="API=PROVIDER,…", help="Providers instead of those that CONFIG has for these APIs."),
    ] = None,
    inference_mode: Annotated[
        str | None,
        typer.Option(metavar="MODE", help="live, record, replay or record-if-missing; see docs/testing.md."),
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where inference is recorded to and replayed from.")
    ] = None,
    env: Variables = None,
) -> None:
    """Serve a configuration until Ctrl-C or SIGTERM; what runs then may finish. See docs/operations.md."""
    # Until it serves: the garbage collector would look at all modules again and again, and find nothing to free.
    gc.disable()
    from llama_conversations.cli.serving import Listening, Recording, run_stack

    environ = environment(env)
    with told_plainly():
        run_stack(source, environ, providers, Listening(host, port, workers), Recording(inference_mode, recordings))


@app.command()
def check(source: Source, *, env: Variables = None) -> None:
    """Say everything that is wrong with a configuration, without starting anything."""
    from llama_conversations.stack.loading import check_config
    from llama_conversations.stack.registry import provider_specs

    environ = environment(env)
    with told_plainly():
        problems = check_config(source, environ, provider_specs())
    if problems:
        typer.echo(problem_list(source, problems))
        raise typer.Exit(FAILED)
    typer.echo(f"{source}: ok")


@app.command()
def version() -> None:
    """Print the version."""
    from llama_conversations import __version__

    typer.echo(__version__)
