"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="A run.yaml, the name of a distribution, or api=provider pairs such as inference=ollama.",
    ),
]

Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="NAME=VALUE", help="A variable for ${env.NAME}, before the environment's own; repeatable."
    ),
]


def environment(variables: Sequence[str] | None) -> Mapping[str, str]:
    """The process's environment with ``NAME=VALUE`` pairs over it."""
    return {**os.environ, **dict(map(_pair, variables or ()))}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"'{text}' is not of the form NAME=VALUE", param_hint="--env")
    return name, value
