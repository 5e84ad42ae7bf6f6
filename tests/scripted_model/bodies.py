"""Request bodies."""

from __future__ import annotations

import json


def chat(model: str, text: str = "Hello", **more: object) -> bytes:
    """A chat completion request with one user message."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


def responses(model: str, text: str = "Hello", **more: object) -> bytes:
    """A request of the Responses API with one user message, to a server that keeps nothing."""
    return json.dumps({"model": model, "input": text, "store": False, **more}).encode()
