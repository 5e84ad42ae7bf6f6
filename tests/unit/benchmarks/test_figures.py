"""What the benchmarks make of what they measured."""

from __future__ import annotations

import pytest

from benchmarks.limits import LIMIT, beside_limit
from benchmarks.load import Row
from benchmarks.pressure import memory_figures

SERVED = Row("append", "20 items", "postgres", clients=64, per_second=300)


def limit(clients: int, per_second: float, database: str = "postgres", what: str = "append: 20 items") -> Row:
    return Row(LIMIT, what, database, clients=clients, per_second=per_second)


def test_a_row_is_compared_with_the_limit_of_as_many_clients_or_the_most_below() -> None:
    limits = [limit(1, 100), limit(16, 600), limit(128, 900)]
    assert beside_limit(SERVED, limits).more == {"of_limit": 0.5}


def test_a_row_without_a_limit_of_its_database_and_operation_stays_as_it_is() -> None:
    others = [limit(1, 100, database="sqlite"), limit(1, 100, what="page: 20 items"), limit(128, 100)]
    assert beside_limit(SERVED, others) is SERVED


def test_an_operation_of_parts_has_a_share_of_its_time_each_and_as_many_more_a_second() -> None:
    whole = Row("fanout", "turns", operations=64, per_second=5, p50_ms=100, p99_ms=200, cpu_ms=10, client_cpu_ms=4)
    part = whole.each_of(10)
    assert (part.operations, part.per_second, part.p50_ms, part.p99_ms) == (640, 50, 10, 20)
    assert (part.cpu_ms, part.client_cpu_ms) == (1, pytest.approx(0.4))


def test_memory_is_flat_if_the_end_is_near_the_begin() -> None:
    figures = memory_figures([90, 100, 100, 100, 101, 99, 104, 104, 104])
    assert figures["memory"] == "flat"
    assert figures["memory_grown_percent"] == pytest.approx(4)
    assert figures["memory_mib_most"] == 104


def test_memory_that_goes_on_growing_is_told() -> None:
    assert memory_figures([100.0 + each for each in range(60)])["memory"] == "grows"
