"""When a request is repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from llama_conversations_providers.inference.openai_wire.retries import (
    FIRST_DELAY_SECONDS,
    MAX_DELAY_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    delay_before,
    is_repeatable,
)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_repeated(status: int) -> None:
    assert is_repeatable(status)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_what_will_not_pass_is_not(status: int) -> None:
    assert not is_repeatable(status)


@pytest.mark.parametrize("retry", range(12))
def test_delays_double_up_to_a_limit_and_vary_by_a_quarter(retry: int) -> None:
    full = min(FIRST_DELAY_SECONDS * 2**retry, MAX_DELAY_SECONDS)
    delays = {delay_before(retry) for _ in range(50)}
    assert len(delays) > 1
    assert all(delay is not None and 0.75 * full <= delay <= full for delay in delays)


@pytest.mark.parametrize(("header", "seconds"), [("0", 0), ("2", 2), ("0.5", 0.5), ("-3", 0), ("5", 5)])
def test_a_short_retry_after_is_honoured(header: str, seconds: float) -> None:
    assert delay_before(0, header) == seconds


def test_a_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)
    delay = delay_before(0, soon)
    assert delay is not None
    assert 0 < delay <= MAX_RETRY_AFTER_SECONDS
    assert delay_before(0, "Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("header", ["6", "3600", "inf", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_long_retry_after_is_the_callers_to_wait_for(header: str) -> None:
    assert delay_before(0, header) is None


@pytest.mark.parametrize("header", ["soon", "", "Wed, 99 Oct 2099"])
def test_a_retry_after_that_says_nothing_is_ignored(header: str) -> None:
    delay = delay_before(0, header)
    assert delay is not None
    assert delay <= FIRST_DELAY_SECONDS
