"""What is served beside the APIs: their OpenAPI document, and a page for people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from llama_conversations.server.docs_page import docs_page
from llama_conversations.server.openapi import openapi_document
from llama_conversations.server.routes import Route

OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"

_CACHED = {"cache-control": "no-cache"}
_SAFE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


class Document:
    """Something made at the first request for it, off the event loop, and kept."""

    def __init__(self, path: str, content_type: bytes, headers: Mapping[str, str], make: Callable[[], bytes]) -> None:
        self.path = path
        self.content_type = content_type
        self.headers = headers
        self._make = make
        self._content: bytes | None = None

    async def content(self) -> bytes:
        """The document."""
        if self._content is None:
            self._content = await asyncio.to_thread(self._make)
        return self._content


def documents(routes: Sequence[Route]) -> list[Document]:
    """The documents about a set of routes."""

    def openapi() -> bytes:
        return json.dumps(openapi_document(routes)).encode()

    def page() -> bytes:
        return docs_page(openapi_document(routes), OPENAPI_PATH).encode()

    return [
        Document(OPENAPI_PATH, b"application/json", _CACHED, openapi),
        Document(DOCS_PATH, b"text/html; charset=utf-8", _CACHED | _SAFE, page),
    ]
