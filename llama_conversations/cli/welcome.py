"""What ``stack run`` says once it serves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import typer

from llama_conversations.stack.known_apis import INFERENCE
from llama_conversations.stack.stack import Stack

MODELS_SHOWN = 4
NO_CHAT = re.compile(r"embed|whisper|tts|transcri|dall-e|image|moderation|realtime|audio|babbage|davinci|sora|rerank")
"""Names of models that cannot be talked to; the example needs one that can."""

_ANYWHERE = {"0.0.0.0": "localhost", "127.0.0.1": "localhost", "::": "localhost", "::1": "localhost"}  # noqa: S104


def show(*lines: str) -> None:
    """Print lines: with their styles on a terminal that has such, unless it was asked for none (no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    typer.echo("\n".join(lines), color=False if plain else None)


async def welcome_lines(stack: Stack, host: str, port: int) -> AsyncIterator[str]:
    """What is served, and where the data lies; then which providers are on, and how to talk to it.

    Between the two it waits, a few seconds at the most, for the providers to tell their models.
    """
    url, workers = base_url(host, port), stack.loaded.config.server.workers
    yield f"{typer.style('Serving', fg='green')}   {url}   (documentation: {url.removesuffix('/v1')}/docs)"
    if workers > 1:
        yield f"Workers   {workers}"
    yield f"Data      {stack.location}"
    names = await stack.model_names()
    for line in (*provider_lines(stack, names), "", *example(url, model_for_example(names))):
        yield line
    yield ""
    yield "Ctrl-C stops it; what runs then may finish."


def base_url(host: str, port: int) -> str:
    """What a client on this machine takes as ``base_url``."""
    name = _ANYWHERE.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/v1"


def provider_lines(stack: Stack, names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for every provider that is on, with its models if it has any to offer, and for every one that is not,
    with the reason."""
    refresh = stack.loaded.config.model_refresh_seconds
    for provider in stack.providers:
        models = names.get(provider.provider_id, ())
        found = _some(models) if models else f"no models found; asked again every {refresh:g} seconds"
        told = f": {found}" if provider.api == INFERENCE else ""
        yield f"Provider  {typer.style(provider.provider_id, bold=True)} ({provider.provider_type}){told}"
    for skipped in stack.loaded.skipped_providers:
        name = skipped.provider_id or skipped.provider_type
        yield typer.style(f"skipped   {name} ({skipped.provider_type}): {skipped.reason}", dim=True)
    for model in stack.loaded.skipped_models:
        yield typer.style(f"skipped   model {model.model_id}: {model.reason}", dim=True)


def _some(models: Sequence[str]) -> str:
    more = f" and {len(models) - MODELS_SHOWN} more" if len(models) > MODELS_SHOWN else ""
    return f"{', '.join(models[:MODELS_SHOWN])}{more}"


def model_for_example(names: Mapping[str, Sequence[str]]) -> str | None:
    """A model that is served and, by its name, can be talked to."""
    every = [name for models in names.values() for name in models]
    return next((name for name in every if not NO_CHAT.search(name)), every[0] if every else None)


def example(url: str, model: str | None) -> Sequence[str]:
    """Python that works when it is pasted, given the ``openai`` package."""
    if model is None:
        return ["No model is served yet. 'stack list models' tells which there are, once there are some."]
    return [
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{url}", api_key="none")',
        f'print(client.responses.create(model={json.dumps(model)}, input="Say hello.").output_text)',
    ]
