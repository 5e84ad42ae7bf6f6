"""Pages of a list, written by joining texts that are JSON already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import orjson
from pydantic import BaseModel

from llama_conversations.errors import MutuallyExclusiveParameters
from llama_conversations.storage.records import PageQuery
from llama_conversations.wire.answers import Json

M = TypeVar("M", bound=BaseModel)


def page_query(limit: int, order: str, after: str | None, before: str | None = None) -> PageQuery:
    """The query that a list's parameters ask for. Errors: ``MutuallyExclusiveParameters`` for two cursors."""
    if after is not None and before is not None:
        raise MutuallyExclusiveParameters("after", "before")
    return PageQuery(limit, order == "desc", after, before)


def list_page(model: type[M], ids: Sequence[str], texts: Sequence[str], has_more: bool) -> Json[M]:
    """A page as it is served: ``texts`` are its entries as JSON, ``ids`` their ids."""
    first, last = (orjson.dumps(ids[0]), orjson.dumps(ids[-1])) if ids else (b"null", b"null")
    body = b'{"object":"list","data":[%b],"first_id":%b,"last_id":%b,"has_more":%b}' % (
        ",".join(texts).encode(),
        first,
        last,
        b"true" if has_more else b"false",
    )
    return Json(model, body)
