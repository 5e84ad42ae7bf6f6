"""Refusals of the various model servers, as errors of ours."""

from __future__ import annotations

import orjson
import pytest

from llama_conversations.errors import (
    UpstreamDenied,
    UpstreamError,
    UpstreamFailed,
    UpstreamModelNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
)
from llama_conversations_providers.inference.openai_wire.errors import MAX_MESSAGE, ErrorWriter

WRITER = ErrorWriter("upstream", ("sk-very-secret", "models.internal:8000"))


def refusal(status: int, body: object = None, retry_after: str | None = None) -> UpstreamError:
    return WRITER.refusal(status, b"" if body is None else orjson.dumps(body), retry_after)


def openai(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **more}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, UpstreamRejected),
        (401, UpstreamDenied),
        (402, UpstreamRateLimited),
        (403, UpstreamDenied),
        (404, UpstreamModelNotFound),
        (405, UpstreamRejected),
        (408, UpstreamTimedOut),
        (409, UpstreamRejected),
        (413, UpstreamRejected),
        (422, UpstreamRejected),
        (429, UpstreamRateLimited),
        (500, UpstreamFailed),
        (502, UpstreamFailed),
        (503, UpstreamFailed),
        (529, UpstreamFailed),
    ],
)
def test_every_status_has_its_error_even_without_a_body(status: int, kind: type[UpstreamError]) -> None:
    error = refusal(status)
    assert type(error) is kind
    assert error.provider_id == "upstream"
    assert str(status) in error.message


@pytest.mark.parametrize(
    "body",
    [
        openai("too hot"),
        [openai("too hot")],
        {"error": "too hot"},
        {"message": "too hot"},
        {"object": "error", "message": "too hot", "type": "BadRequestError", "code": 400},
        {"detail": "too hot"},
        {"detail": [{"loc": ["body", "temperature"], "msg": "too hot", "type": "value_error"}]},
        {"message": {"detail": [{"msg": "too hot"}]}},
        {"error": {"code": 400, "message": "too hot", "type": "invalid_request_error"}},
    ],
)
def test_the_message_is_found_in_every_usual_shape(body: object) -> None:
    assert refusal(400, body).message == "too hot"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"",
        b"[]",
        b"[1,2]",
        b"7",
        b"{}",
        b'{"error":{}}',
        b'{"error":{"message":5}}',
        b'{"error":{"message":{}}}',
        b'{"error":null}',
        b"\xff",
    ],
)
def test_a_body_without_message_leaves_a_message_of_ours(body: bytes) -> None:
    assert WRITER.refusal(400, body, None).message == "The model server rejected the request (400)."


def test_code_and_param_are_kept() -> None:
    error = refusal(400, openai("too hot", param="temperature", code="decimal_above_max_value"))
    assert isinstance(error, UpstreamRejected)
    assert (error.code, error.param) == ("decimal_above_max_value", "temperature")


def test_a_numeric_code_is_no_code() -> None:
    error = refusal(400, {"error": {"message": "no", "code": 400, "param": 3}})
    assert isinstance(error, UpstreamRejected)
    assert (error.code, error.param) == (None, None)


def test_a_context_overflow_in_llama_cpps_words_has_openais_code() -> None:
    error = refusal(400, {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}})
    assert isinstance(error, UpstreamRejected)
    assert error.code == "context_length_exceeded"


def test_a_model_that_is_unknown_by_code_is_unknown_whatever_the_status() -> None:
    assert isinstance(refusal(400, openai("no such model", code="model_not_found")), UpstreamModelNotFound)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_credentials_says_nothing_of_the_model_servers_own(status: int) -> None:
    error = refusal(status, openai("Incorrect API key provided: sk-ver***ret at http://models.internal:8000"))
    assert error.message == f"The model server refused this server's credentials ({status})."


def test_retry_after_is_passed_on_as_it_came() -> None:
    error = refusal(429, openai("slow down"), "Wed, 21 Oct 2026 07:28:00 GMT")
    assert isinstance(error, UpstreamRateLimited)
    assert (error.retry_after, error.code) == ("Wed, 21 Oct 2026 07:28:00 GMT", "rate_limit_exceeded")


@pytest.mark.parametrize("words", [{"code": "insufficient_quota"}, {"type": "insufficient_quota"}])
def test_an_empty_account_is_told_from_a_rate_limit(words: dict[str, object]) -> None:
    error = refusal(429, openai("pay first", **words))
    assert isinstance(error, UpstreamRateLimited)
    assert error.code == "insufficient_quota"


def test_payment_required_is_an_empty_account() -> None:
    error = refusal(402, {"error": "Insufficient Balance"})
    assert isinstance(error, UpstreamRateLimited)
    assert (error.code, error.message) == ("insufficient_quota", "Insufficient Balance")


def test_keys_and_addresses_are_struck_out() -> None:
    message = refusal(500, openai("sk-very-secret was refused by models.internal:8000")).message
    assert message == "The model server failed (500): *** was refused by ***"


def test_a_long_message_is_cut() -> None:
    assert len(refusal(400, openai("x" * 10_000)).message) == MAX_MESSAGE + 1
