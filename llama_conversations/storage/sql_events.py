"""Events of streamed background responses, as part of other units of work."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam

from llama_conversations.storage.expressions import insert_if_absent
from llama_conversations.storage.records import EventRecord
from llama_conversations.storage.tables import response_events
from llama_conversations.storage.unit_of_work import RunMany, Statement, Unit

_INSERT_EVENT = Statement(
    insert_if_absent(response_events).values(
        {column: bindparam(column) for column in ("response_id", "sequence_number", "frame")}
    )
)


def insert_events(response_id: str, events: Sequence[EventRecord]) -> Unit[None]:
    """Part of a unit of work: keep events; those that are kept already (nobody may know) stay as they are."""
    yield RunMany(
        _INSERT_EVENT,
        [
            {"response_id": response_id, "sequence_number": event.sequence_number, "frame": event.frame}
            for event in events
        ],
    )
