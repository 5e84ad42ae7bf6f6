"""What goes wrong, told without a traceback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from llama_conversations.errors import ConfigError, ConfigProblem, StackError

FAILED = 1
"""Exit code of a command that could not do what it was told."""


@contextmanager
def told_plainly() -> Iterator[None]:
    """Print an error that we raise on purpose, and end with exit code 1."""
    try:
        yield
    except ConfigError as error:
        typer.echo(problem_list(error.source, error.problems), err=True)
        raise typer.Exit(FAILED) from None
    except StackError as error:
        typer.echo("\n".join([f"Error: {error}", *getattr(error, "__notes__", ())]), err=True)
        raise typer.Exit(FAILED) from None


def problem_list(source: str, problems: Sequence[ConfigProblem]) -> str:
    """The problems of a configuration, a line for each."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)])
