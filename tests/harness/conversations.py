"""Conversations over plain HTTP, in as few words as tests like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpx2

from harness.answers import ok

Item = dict[str, Any]

BATCH = 20
"""As many items as one request may add."""


def user(text: str, **fields: object) -> Item:
    """A user's message as a client sends it."""
    return {"type": "message", "role": "user", "content": text, **fields}


def create(http: httpx2.Client, items: Sequence[object] = (), **fields: object) -> str:
    """A new conversation with any number of items; its id."""
    first = list(items[:BATCH])
    conversation_id: str = ok(http.post("/conversations", json={"items": first, **fields}))["id"]
    for start in range(BATCH, len(items), BATCH):
        add(http, conversation_id, items[start : start + BATCH])
    return conversation_id


def add(http: httpx2.Client, conversation_id: str, items: Iterable[object]) -> list[Item]:
    """Append a batch; the items that were made."""
    made: list[Item] = ok(http.post(f"/conversations/{conversation_id}/items", json={"items": list(items)}))["data"]
    return made


def page(http: httpx2.Client, conversation_id: str, **query: object) -> dict[str, Any]:
    """One page of items."""
    answer: dict[str, Any] = ok(http.get(f"/conversations/{conversation_id}/items", params=query))
    return answer


def pages(http: httpx2.Client, conversation_id: str, **query: object) -> Iterator[dict[str, Any]]:
    """All pages from the first to the last."""
    cursor: dict[str, object] = {}
    while True:
        answer = page(http, conversation_id, **query, **cursor)
        yield answer
        if not answer["has_more"]:
            return
        cursor = {"after": answer["last_id"]}


def items_of(http: httpx2.Client, conversation_id: str, **query: object) -> list[Item]:
    """All items, oldest first unless ``order`` says otherwise."""
    query = {"limit": 100, "order": "asc", **query}
    return [item for answer in pages(http, conversation_id, **query) for item in answer["data"]]


def ids_of(items: Iterable[Item]) -> list[str]:
    """The ids of items."""
    return [item["id"] for item in items]


def texts_of(items: Iterable[Item]) -> list[str]:
    """What messages of one part say."""
    return [item["content"][0]["text"] for item in items]
