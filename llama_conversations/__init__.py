"""An OpenAI-compatible Conversations and Responses server, self-hosted, in front of any model.

::

    from llama_conversations import open_client

    async with open_client("starter") as client:
        conversation = await client.conversations.create()

What a program may import from here is in ``__all__``. It is loaded when it is asked for, so that the command line is
quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_conversations.library import asgi_app, client_for, open_client
    from llama_conversations.stack.stack import Stack

    __version__: str

__all__ = ["Stack", "__version__", "asgi_app", "client_for", "open_client"]

_HOMES = {
    "Stack": "llama_conversations.stack.stack",
    "asgi_app": "llama_conversations.library",
    "client_for": "llama_conversations.library",
    "open_client": "llama_conversations.library",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("llama-conversations")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
