"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from harness.forked import FORKER
from harness.pgbouncer import Pgbouncer, program
from harness.postgres import Cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run")
    parser.addoption("--database", help="every contract test on this kind of database: sqlite, postgres or pgbouncer")
    parser.addoption("--all-databases", action="store_true", help="every contract test on every kind of database")
    parser.addoption("--processes", type=int, default=1, help="processes behind the port of each shared server")


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are processors: for a third of its time a worker waits for what it has started."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that ought to run and was skipped has shown nothing."""
    if not session.config.getoption("--no-skips"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"--no-skips: {len(skipped)} tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def forker() -> Iterator[None]:
    """What ``ForkedServer`` starts for the tests of a worker process ends with them, before coverage is combined."""
    yield
    FORKER.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server, shared by the tests of a worker process."""
    cluster = Cluster()
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def pgbouncer(postgres: Cluster) -> Iterator[Pgbouncer]:
    """pgbouncer in transaction mode before that server."""
    if program() is None:
        pytest.skip("pgbouncer is not installed")
    pooler = Pgbouncer(postgres, pool_mode="transaction")
    try:
        yield pooler.start()
    finally:
        pooler.close()
