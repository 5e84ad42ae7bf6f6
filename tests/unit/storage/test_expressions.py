"""SQL that each dialect writes its own way."""

from __future__ import annotations

import pytest
from sqlalchemy import Dialect, and_, bindparam, column, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite

from llama_conversations.storage.expressions import in_json_array, json_contains, now_ms, unindexed
from unit.storage.test_query_plans import STATEMENTS

SQLITE, POSTGRESQL = sqlite.dialect(), postgresql.dialect()


def written(clause: object, dialect: Dialect) -> str:
    return " ".join(str(select(literal_column("1")).where(clause).compile(dialect=dialect)).split())  # type: ignore[call-overload]


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_can_be_written_for_postgresql_too(name: str) -> None:
    assert str(STATEMENTS[name].clause.compile(dialect=POSTGRESQL))


def test_a_condition_is_written_as_it_is_so_that_an_index_can_serve_it() -> None:
    condition = and_(column("x") == 1, in_json_array(column("id"), bindparam("ids")))
    assert written(condition, SQLITE).endswith("AND id IN (SELECT value FROM json_each(?))")
    assert written(condition, POSTGRESQL).endswith(
        "AND id = ANY (ARRAY(SELECT jsonb_array_elements_text((%(ids)s)::jsonb)))"
    )
    pairs = and_(column("x") == 1, json_contains(column("m"), bindparam("pairs")))
    assert " AND NOT EXISTS (SELECT 1 FROM json_each(?) AS wanted" in written(pairs, SQLITE)
    assert written(pairs, SQLITE).endswith("had.atom = wanted.atom))")
    assert written(pairs, POSTGRESQL).endswith(
        r"AND replace(m, '\u0000', '\uffff')::jsonb @> replace(%(pairs)s, '\u0000', '\uffff')::jsonb"
    )


def test_a_column_is_kept_from_the_indexes() -> None:
    assert written(unindexed(column("owner")) == "a", SQLITE).endswith("WHERE +owner = ?")
    assert " WHERE (owner || '') = %(" in written(unindexed(column("owner")) == "a", POSTGRESQL)


def test_the_time_is_the_databases() -> None:
    assert "julianday('now')" in written(now_ms() > 0, SQLITE)
    assert "clock_timestamp()" in written(now_ms() > 0, POSTGRESQL)
