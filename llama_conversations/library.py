"""The stack inside a Python program: an app to mount, or an OpenAI client that needs no server.

async with open_client("starter") as client:
    conversation = await client.conversations.create()
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from llama_conversations.server.app import build_app
from llama_conversations.stack.loading import ConfigSource
from llama_conversations.stack.stack import Stack

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["asgi_app", "client_for", "open_client"]


def asgi_app(stack: Stack) -> ASGIApp:
    """The app that serves an open stack's routes; who runs it opens and closes the stack."""
    return build_app(stack.bindings(), stack.loaded.config.server, stack.idempotency_keys())


def client_for(stack: Stack) -> AsyncOpenAI:
    """An OpenAI client that calls an open stack directly. Close it (``async with``) before the stack."""
    # Imports the openai package, which takes as long as all the rest; a server does without it.
    from llama_conversations.server.in_process import in_process_client

    return in_process_client(asgi_app(stack))


@asynccontextmanager
async def open_client(source: ConfigSource, environ: Mapping[str, str] | None = None) -> AsyncIterator[AsyncOpenAI]:
    """Open a stack and give an OpenAI client that calls it directly; both are closed at the end.

    Args:
        source: What ``Stack.from_config`` takes.
        environ: Variables that ``${env.…}`` names; the process's own unless given.

    Errors: ``ConfigError``, ``StorageError``, whatever a provider fails to start with.
    """
    async with Stack.from_config(source, environ) as stack, client_for(stack) as client:
        yield client
