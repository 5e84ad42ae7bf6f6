"""Rows that joint work finds and holds: those that are the caller's and that no other transaction has locked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import orjson
from sqlalchemy import Column, ColumnElement, Select, Table, bindparam, select

from llama_conversations.access import AccessScope
from llama_conversations.storage.expressions import in_json_array, json_list, json_object_of, json_parameter
from llama_conversations.storage.scopes import filtered_by_owner, scope_parameters
from llama_conversations.storage.unit_of_work import SqlValue


def select_unlocked(
    table: Table, columns: Sequence[Column[int] | Column[str]], *conditions: ColumnElement[bool]
) -> Select[tuple[str]]:
    """One row of one text, for ``read_unlocked``: these columns of the rows that ``unlocked_parameters`` asks for.

    Whoever comes first in a transaction of his own holds such a row until he commits; nobody waits for it.
    """
    rows = (
        select(table.c.id, *columns)
        .where(in_json_array(table.c.id, bindparam("ids")), *conditions, *filtered_by_owner(table))
        .with_for_update(skip_locked=True)
        .subquery()
    )
    return select(json_object_of(rows.c.id, json_list(*(rows.c[column.name] for column in columns))))


def unlocked_parameters(scope: AccessScope, ids: Collection[str]) -> dict[str, SqlValue]:
    """What ``select_unlocked`` takes."""
    return {**scope_parameters(scope), "ids": json_parameter(list(ids))}


def read_unlocked(found: SqlValue) -> Mapping[str, Sequence[str | int]]:
    """From each id that was found to its columns."""
    return cast("Mapping[str, Sequence[str | int]]", orjson.loads(str(found)))
