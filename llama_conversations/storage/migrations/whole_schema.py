"""The newest schema for an empty database, from the tables themselves: the same as all revisions together make.

What nearly every first start needs is a few statements; alembic is imported where there is something to upgrade.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from llama_conversations.storage.migrations import HEAD_REVISION
from llama_conversations.storage.tables import metadata

_REVISIONS = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where alembic keeps the revision (``alembic.ddl.impl``)."""

_ROWS = (
    "INSERT INTO leases (name) VALUES ('retention'), ('probe')",
    f"INSERT INTO alembic_version (version_num) VALUES ('{HEAD_REVISION}')",  # noqa: S608  (ours)
)


def whole_schema(dialect: Dialect) -> Iterator[str]:
    """The statements, without parameters and in their order; for one transaction of the caller's."""
    yield str(CreateTable(_REVISIONS, if_not_exists=True).compile(dialect=dialect))
    for table in metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))
    yield from _ROWS
