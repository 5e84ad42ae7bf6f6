from __future__ import annotations

import pytest

from llama_conversations import errors
from llama_conversations.services.responses.failures import failure_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UpstreamRateLimited("p", "words", retry_after=None), "rate_limit_exceeded"),
        (errors.UpstreamRateLimited("p", "words", retry_after=None, code="insufficient_quota"), "insufficient_quota"),
        (errors.UpstreamRejected("p", "words"), "invalid_prompt"),
        (errors.InvalidParameter("words", param="input"), "invalid_prompt"),
        (errors.UpstreamDenied("p", "words"), "server_error"),
        (errors.UpstreamTimedOut("p", "words"), "server_error"),
    ],
)
def test_a_failed_response_tells_what_the_upstream_said(error, code):
    assert failure_of(error) == (code, "words")


@pytest.mark.parametrize("error", [ValueError("secret"), errors.StorageUnavailable("secret")])
def test_a_failed_response_does_not_show_our_insides(error):
    assert failure_of(error) == ("server_error", "The server had an error while processing your request.")
