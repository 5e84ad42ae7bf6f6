"""A stored response as a row of its table."""

from __future__ import annotations

from typing import cast

from llama_conversations.storage.records import ResponseRecord
from llama_conversations.storage.tables import responses
from llama_conversations.storage.unit_of_work import Row, SqlValue

RESPONSE_FIELDS = tuple(
    responses.c[name]
    for name in (
        "id",
        "created_at",
        "status",
        "model",
        "conversation_id",
        "previous_response_id",
        "context_position",
        "input",
        "head",
        "output",
    )
)
"""The columns that a ``ResponseRecord`` consists of, in the order of its fields."""


def read_response(row: Row) -> ResponseRecord:
    """The record of a row of ``RESPONSE_FIELDS``."""
    return ResponseRecord(*row)  # type: ignore[arg-type]  # the columns are selected in the order of the fields


def response_values(response: ResponseRecord) -> dict[str, SqlValue]:
    """The row of a record, by column."""
    return {column.name: cast("SqlValue", getattr(response, column.name)) for column in RESPONSE_FIELDS}
