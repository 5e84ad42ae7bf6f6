"""Request bodies."""

from __future__ import annotations

import json


def chat(model: str, text: str = "Hello", **more: object) -> bytes:
    """A chat completion request with one user message."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()
