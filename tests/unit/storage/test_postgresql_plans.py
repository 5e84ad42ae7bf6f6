"""How PostgreSQL looks for rows: by keys and indexes, whatever the tables hold.

The tables are filled as a server fills them that has one owner and many conversations, and analysed or, as in the first
minutes of a busy server, not yet. Plans are those of a prepared statement that knows none of its values: a connection
keeps these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import asyncpg
import pytest

from harness.postgres import PASSWORD, Cluster, in_its_own_loop
from llama_conversations.storage.dialects.compiled import PositionalStatements
from llama_conversations.storage.dialects.postgresql import DIALECT
from unit.storage.test_query_plans import STATEMENTS

FILL = """
INSERT INTO conversations SELECT 'conv_' || lpad(to_hex(n * 40), 8, '0') || repeat('0', 40), '', '', n, '{}', 20,
  CASE WHEN n % 500 = 0 THEN 'resp_' || n END, CASE WHEN n % 500 = 0 THEN 'node' END, CASE WHEN n % 500 = 0 THEN n END
  FROM generate_series(1, 5000) AS n;
INSERT INTO conversation_items SELECT id, position, 'msg_' || position, 'message', '{}', NULL, 1
  FROM conversations, generate_series(0, 9) AS position;
INSERT INTO responses (id, tenant, owner, created_at, status, model, input, head, output, lease_node, lease_expires_at)
  SELECT 'resp_' || lpad(to_hex(n * 40), 8, '0') || repeat('0', 42), '', '', n,
  CASE WHEN n % 500 = 1 THEN 'queued' ELSE 'completed' END, 'model', '[]', '{}', '[]',
  CASE WHEN n % 500 = 0 THEN 'node' END, CASE WHEN n % 500 = 0 THEN n END FROM generate_series(1, 5000) AS n;
INSERT INTO response_events SELECT id, number, 'x' FROM responses, generate_series(0, 3) AS number;
INSERT INTO prompts SELECT 'pmpt_' || n, '', 'owner' || n / 10, n, 1 FROM generate_series(1, 3000) AS n;
INSERT INTO prompt_versions SELECT id, version, 'text', '[]', 1 FROM prompts, generate_series(1, 2) AS version;
INSERT INTO idempotency_keys SELECT '', '', 'key' || n, 'f', n, CASE WHEN n % 500 = 0 THEN 'holder' END,
  CASE WHEN n % 500 = 0 THEN 'node' END, CASE WHEN n % 500 = 0 THEN n END FROM generate_series(1, 5000) AS n;
INSERT INTO resources SELECT 'model', 'provider' || n / 100, 'm' || n, '{}' FROM generate_series(1, 3000) AS n;
"""

ALL_THAT_SOMEBODY_OWNS = ("sql_prompts._SELECT_ALL",)
"""Statements that read all prompts of one owner; their versions may be joined in any way."""

BY_OWNER = {
    "sql_conversations._CONVERSATION_PAGES",
    "sql_prompts._SELECT_ALL",
    "sql_responses._PAGES",
    "sql_retention._NEXT_OWNER",
    "sql_retention._SELECT_OLD",
    "sql_retention._SELECT_OLD_RESPONSES",
}
"""Statements that look for what somebody owns."""


@pytest.fixture(scope="module")
def fresh(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The plan of every statement, as text, on tables that nobody has analysed, in a session as ours are."""
    database = postgres.database(tmp_path_factory.mktemp("fresh"))
    return in_its_own_loop(filled_and_planned(postgres.port, database, "SET enable_seqscan = off; SET jit = off"))


@pytest.fixture(scope="module")
def plans(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The plan of every statement, as text, on tables that were analysed; the planner is left as it is."""
    database = postgres.database(tmp_path_factory.mktemp("plans"))
    return in_its_own_loop(filled_and_planned(postgres.port, database, "ANALYZE"))


async def filled_and_planned(port: int, database: str, then: str) -> Mapping[str, str]:
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="owner", password=PASSWORD, database=database)
    try:
        await connection.execute(FILL)
        await connection.execute(then)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        return {name: await plan(connection, name) for name in STATEMENTS}
    finally:
        await connection.close()


async def plan(connection: asyncpg.Connection, name: str) -> str:
    compiled = PositionalStatements(DIALECT).compiled(STATEMENTS[name])
    await connection.execute(f"PREPARE wanted AS {compiled.sql}")
    nothing = ", ".join(["NULL"] * len(compiled.names))
    found = await connection.fetch(f"EXPLAIN EXECUTE wanted{f'({nothing})' if nothing else ''}")
    await connection.execute("DEALLOCATE wanted")
    return "\n".join(row[0] for row in found)


def test_no_statement_reads_a_whole_table_that_grows(plans: Mapping[str, str]) -> None:
    scanning = {
        name: plan
        for name, plan in plans.items()
        if re.search(r"Seq Scan on (?!chain|leases)", plan) and name not in ALL_THAT_SOMEBODY_OWNS
    }
    assert scanning == {}, "\n\n".join(f"{name}\n{plan}" for name, plan in scanning.items())


def test_what_has_an_id_is_found_by_it_also_before_anything_was_analysed(fresh: Mapping[str, str]) -> None:
    by_owner = {name: plan for name, plan in fresh.items() if "_by_owner" in plan}
    assert {name.partition("[")[0] for name in by_owner} == BY_OWNER, "\n\n".join(map(": ".join, by_owner.items()))
    assert not [plan for plan in fresh.values() if "Seq Scan" in plan]


def test_a_page_is_read_in_the_order_of_an_index_from_its_cursor_on(plans: Mapping[str, str]) -> None:
    for name, plan in plans.items():
        if "_PAGES" in name:
            assert "Sort" not in plan, f"{name}\n{plan}"
            if "after" in name or "before" in name:
                assert re.search(r"Index Cond: .*ROW\(created_at, id\)", plan), f"{name}\n{plan}"


def test_a_page_of_items_and_a_history_are_one_range_of_the_primary_key(plans: Mapping[str, str]) -> None:
    for name, plan in plans.items():
        if "_ITEM_PAGES" in name or name.endswith("_SELECT_HISTORY"):
            assert re.search(r"(using|on) conversation_items_pkey", plan), f"{name}\n{plan}"


def test_a_partition_is_a_range_of_ids(plans: Mapping[str, str]) -> None:
    for name in ("sql_conversations._SELECT_FROM_PARTITION", "sql_responses._SELECT_FROM_PARTITION"):
        assert re.search(r"Index Cond: \(\(id >= .* AND \(id < ", plans[name]), plans[name]


def test_leases_and_what_waits_are_looked_for_among_them_alone(plans: Mapping[str, str]) -> None:
    for name, index in {
        "sql_leases._FREE_EXPIRED": "conversations_leased",
        "sql_leases._SELECT_EXPIRED": "responses_leased",
        "sql_jobs._TAKE": "responses_queued",
        "sql_jobs._COUNT_QUEUED": "responses_queued",
    }.items():
        assert index in plans[name], plans[name]
