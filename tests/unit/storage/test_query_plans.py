"""How SQLite looks for rows: every statement searches by a key or an index, none reads a whole table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from llama_conversations.storage import (
    effects,
    sql_appends,
    sql_claims,
    sql_commits,
    sql_conversations,
    sql_events,
    sql_idempotency,
    sql_jobs,
    sql_leases,
    sql_prompts,
    sql_registry,
    sql_responses,
    sql_retention,
)
from llama_conversations.storage.dialects.compiled import PositionalStatements
from llama_conversations.storage.dialects.sqlite import DIALECT
from llama_conversations.storage.tables import metadata
from llama_conversations.storage.unit_of_work import Statement
from unit.storage.support import opened, rows

MODULES = (
    sql_conversations,
    sql_appends,
    sql_claims,
    sql_commits,
    sql_leases,
    sql_responses,
    sql_jobs,
    sql_events,
    sql_prompts,
    sql_registry,
    sql_idempotency,
    sql_retention,
    effects,
)

ROWS_OF_AN_OWNER = {
    "sql_conversations._CONVERSATION_PAGES": "a page, or all of the caller's own that a metadata filter looks at",
    "sql_responses._PAGES": "a page, or all of the caller's own of one model",
    "sql_prompts._SELECT_ALL": "the list is all of the caller's own",
}
"""Statements that may read many rows of one owner, by the owner's index, and why."""


def statements(module: ModuleType) -> Iterator[tuple[str, Statement]]:
    """Every statement that a module makes at import, named as it is written there."""
    for name, value in vars(module).items():
        short = f"{module.__name__.rpartition('.')[2]}.{name}"
        if isinstance(value, Statement):
            yield short, value
        elif isinstance(value, tuple | dict):
            members = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((f"{short}[{key}]", member) for key, member in members if isinstance(member, Statement))


STATEMENTS = dict(pair for module in MODULES for pair in statements(module))


def plan(path: Path, statement: Statement) -> list[str]:
    compiled = PositionalStatements(DIALECT).compiled(statement)
    values = compiled.values(dict.fromkeys(compiled.names, "[]") | dict(compiled.literals))
    return [str(step[3]) for step in rows(path, f"EXPLAIN QUERY PLAN {compiled.sql}", values)]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "state.db"

    async def make() -> None:
        async with opened(path):
            pass

    asyncio.run(make())
    return path


def test_statements_were_found_in_every_module() -> None:
    assert {name.partition(".")[0] for name in STATEMENTS} == {module.__name__.rpartition(".")[2] for module in MODULES}
    assert len(STATEMENTS) > 60


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_scans_a_table(schema: Path, name: str) -> None:
    scanned = [
        step
        for step in plan(schema, STATEMENTS[name])
        if step.startswith("SCAN") and step.split()[1] in metadata.tables and " USING " not in step
    ]
    assert scanned == []


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_but_a_list_reads_all_that_somebody_owns(schema: Path, name: str) -> None:
    by_owner = [step for step in plan(schema, STATEMENTS[name]) if "_by_owner (tenant=? AND owner=?)" in step]
    assert not by_owner or name.partition("[")[0] in ROWS_OF_AN_OWNER


@pytest.mark.parametrize("name", [name for name in STATEMENTS if "_PAGES" in name])
def test_a_page_is_read_in_the_order_of_an_index_from_its_cursor_on(schema: Path, name: str) -> None:
    steps = plan(schema, STATEMENTS[name])
    assert not [step for step in steps if "TEMP B-TREE" in step]
    if "after" in name or "before" in name:
        assert "(created_at,id)" in steps[0]


def test_an_id_is_looked_up_in_its_conversation_and_not_among_all_its_items(schema: Path) -> None:
    names = [f"sql_conversations.{name}" for name in ("_SELECT_ITEM", "_SELECT_POSITION", "_DELETE_ITEM")]
    for name in ("sql_appends._SELECT_HELD_IDS", "sql_conversations._SELECT_FROM_PARTITION", *names):
        steps = plan(schema, STATEMENTS[name])
        [step] = [step for step in steps if step.startswith("SEARCH conversation_items")]
        assert step.endswith("(conversation_id=? AND id=?)"), step


def test_a_partition_is_a_range_of_ids(schema: Path) -> None:
    steps = plan(schema, STATEMENTS["sql_conversations._SELECT_FROM_PARTITION"])
    assert "SEARCH conversations USING PRIMARY KEY (id>? AND id<?)" in steps
    [step] = plan(schema, STATEMENTS["sql_responses._SELECT_FROM_PARTITION"])
    assert step.startswith("SEARCH responses USING INDEX sqlite_autoindex_responses")
    assert step.endswith("(id>? AND id<?)")


def test_a_page_of_items_is_one_range_of_the_primary_key(schema: Path) -> None:
    for name in STATEMENTS:
        if "_ITEM_PAGES" in name or name.endswith(("_SELECT_HISTORY", "_SELECT_SPAN")):
            assert plan(schema, STATEMENTS[name])[-1].startswith(
                "SEARCH conversation_items USING PRIMARY KEY (conversation_id=?"
            )


def test_leases_are_looked_for_among_the_leased_alone(schema: Path) -> None:
    for name, statement in STATEMENTS.items():
        if name.partition("[")[0].rpartition(".")[2] in ("_SELECT_NODES", "_FREE_EXPIRED", "_SELECT_EXPIRED"):
            assert "_leased (lease_node>?)" in "".join(plan(schema, statement))


def test_what_is_too_old_is_found_in_the_order_of_each_owners_index(schema: Path) -> None:
    found = {name: plan(schema, statement) for name, statement in STATEMENTS.items() if "sql_retention" in name}
    for table in ("conversations", "responses"):
        [step] = found[f"sql_retention._NEXT_OWNER[{table}]"]
        assert f"INDEX {table}_by_owner ((tenant,owner)>(?,?))" in step
    old_responses = found["sql_retention._SELECT_OLD_RESPONSES"]
    assert any("_by_owner (tenant=? AND owner=? AND created_at<?)" in step for step in old_responses)
    assert "_by_owner (tenant=? AND owner=? AND (created_at" in found["sql_retention._SELECT_OLD"][0]
    assert not [step for steps in found.values() for step in steps if "TEMP B-TREE" in step]


def test_no_index_is_made_for_nothing(schema: Path) -> None:
    used = {word for statement in STATEMENTS.values() for step in plan(schema, statement) for word in step.split()}
    made = {str(name) for (name,) in rows(schema, "SELECT name FROM sqlite_master WHERE type = 'index'")}
    keys = {name for name in made if name.startswith("sqlite_autoindex")}
    assert made - keys <= used
