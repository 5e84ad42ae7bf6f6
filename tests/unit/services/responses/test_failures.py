"""What a failed response says about its error."""

from __future__ import annotations

import pytest

from llama_conversations.errors import (
    DuplicateItem,
    Overloaded,
    ShuttingDown,
    StorageUnavailable,
    TurnLost,
    UpstreamDenied,
    UpstreamFailed,
    UpstreamRateLimited,
    UpstreamRejected,
)
from llama_conversations.services.responses.failures import INTERNAL, failure_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamRateLimited("p", "slow down", retry_after="3"), "rate_limit_exceeded"),
        (UpstreamRateLimited("p", "pay", retry_after=None, code="insufficient_quota"), "insufficient_quota"),
        (UpstreamRejected("p", "long", code="context_length_exceeded", param="input"), "invalid_prompt"),
        (UpstreamDenied("p", "no"), "server_error"),
        (UpstreamFailed("p", "broke"), "server_error"),
        (DuplicateItem("msg_1"), "invalid_prompt"),
        (TurnLost("resp_1"), "server_error"),
        (Overloaded("too much"), "server_error"),
        (ShuttingDown(), "server_error"),
    ],
)
def test_an_error_that_the_caller_may_see_is_told_in_its_own_words_under_a_code_of_the_api(
    error: Exception, code: str
) -> None:
    assert failure_of(error) == (code, str(error))


@pytest.mark.parametrize("error", [StorageUnavailable("/var/lib/x.db: disk I/O error"), KeyError("x"), ValueError("y")])
def test_what_is_not_meant_for_the_caller_is_a_plain_server_error(error: Exception) -> None:
    assert failure_of(error) == ("server_error", INTERNAL)
