"""The access scope as SQL: a condition of every statement that reads or changes what somebody owns."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, bindparam

from llama_conversations.access import AccessScope
from llama_conversations.storage.expressions import unindexed
from llama_conversations.storage.unit_of_work import SqlValue


def owned_by(table: Table) -> tuple[ColumnElement[bool], ...]:
    """Conditions that keep the rows of the scope in ``scope_parameters``."""
    return (table.c.tenant == bindparam("tenant"), table.c.owner == bindparam("owner"))


def filtered_by_owner(table: Table) -> tuple[ColumnElement[bool], ...]:
    """As ``owned_by``, where rows are found by their ids: all that somebody owns would be too many to look at."""
    return (unindexed(table.c.tenant) == bindparam("tenant"), unindexed(table.c.owner) == bindparam("owner"))


def scope_parameters(scope: AccessScope) -> dict[str, SqlValue]:
    """The values that ``owned_by`` compares with."""
    return {"tenant": scope.tenant, "owner": scope.owner}
