from __future__ import annotations

import json

import pytest

from llama_conversations import errors
from llama_conversations.apis.catalog import Models
from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.apis.conversations import Conversations
from llama_conversations.apis.responses import Responses
from llama_conversations.server.errors import refusal_of

INVALID = "invalid_request_error"
SERVER = "server_error"


def all_errors(cls: type[errors.StackError] = errors.StackError) -> list[type[errors.StackError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in all_errors(sub))]


CASES: list[tuple[errors.StackError, int, str, str | None, str | None]] = [
    (errors.InvalidParameter("m", param="items[0]", code="invalid_type"), 400, INVALID, "invalid_type", "items[0]"),
    (errors.InvalidParameter("m", param=None, code="invalid_json"), 400, INVALID, "invalid_json", None),
    (errors.TooManyMessages(), 429, "requests", "rate_limit_exceeded", None),
    (errors.TooManyLanes(32), 400, INVALID, "websocket_stream_limit_reached", "stream_id"),
    (errors.ConnectionExpired(3600), 400, INVALID, "websocket_connection_limit_reached", None),
    (errors.QueueFull(1), 429, "requests", "rate_limit_exceeded", None),
    (errors.NotInBackground("resp_1", "it has ended"), 400, INVALID, None, None),
    (errors.UnsupportedParameter("background"), 400, INVALID, "unsupported_parameter", "background"),
    (errors.UnstorableText(), 400, INVALID, "invalid_value", None),
    (errors.OutcomeUnknown(), 500, SERVER, SERVER, None),
    (errors.MutuallyExclusiveParameters("a", "b"), 400, INVALID, "mutually_exclusive_parameters", None),
    (errors.ConversationNotFound("conv_1"), 404, INVALID, None, None),
    (errors.ItemNotFound("msg_1", "conv_1"), 404, INVALID, None, None),
    (errors.ReferencedItemNotFound("msg_1"), 404, INVALID, None, None),
    (errors.ResponseNotFound("resp_1"), 404, INVALID, None, None),
    (errors.PromptNotFound("pmpt_1", 2), 404, INVALID, None, None),
    (errors.ProviderNotFound("x"), 404, INVALID, None, None),
    (errors.RouteNotFound("GET", "/x"), 404, INVALID, None, None),
    (errors.MethodNotAllowed("PUT", "/x", ["GET"]), 405, INVALID, None, None),
    (
        errors.PreviousResponseNotFound("resp_1"),
        400,
        INVALID,
        "previous_response_not_found",
        "previous_response_id",
    ),
    (errors.ModelNotFound("m"), 400, INVALID, "model_not_found", "model"),
    (errors.CursorNotFound("after", "msg_1"), 400, INVALID, "invalid_value", "after"),
    (errors.DuplicateItem("msg_1"), 400, INVALID, None, "input"),
    (errors.ConversationLocked("conv_1"), 400, INVALID, "conversation_locked", "conversation"),
    (errors.IdempotencyKeyReused("k"), 400, INVALID, "idempotency_key_reused", "Idempotency-Key"),
    (errors.AnswerNotKept("k"), 400, INVALID, "idempotent_answer_not_kept", "Idempotency-Key"),
    (errors.RequestTooLarge(7), 413, INVALID, "request_too_large", None),
    (errors.HeadTooLarge(7), 431, INVALID, None, None),
    (errors.NotHTTP("Invalid method"), 400, INVALID, None, None),
    (errors.OriginForbidden("https://a.example"), 403, INVALID, None, None),
    (errors.HostForbidden("a.example", ["localhost"]), 403, INVALID, None, None),
    (errors.StreamStalled(5), 400, INVALID, None, None),
    (errors.ToolServerForbidden("l", "r"), 400, INVALID, None, "tools"),
    (errors.ToolFailed("l", "m"), 424, "external_connector_error", "http_error", "tools"),
    (errors.SearchFailed("p", "m"), 424, "external_connector_error", "http_error", "tools"),
    (errors.UpstreamRejected("p", "m", code="bad_schema", param="tools"), 400, INVALID, "bad_schema", "tools"),
    (errors.UpstreamDenied("p", "m"), 424, "upstream_error", "upstream_authentication_failed", None),
    (errors.UpstreamModelNotFound("p", "m"), 400, INVALID, "model_not_found", "model"),
    (errors.UpstreamRateLimited("p", "m", retry_after="7"), 429, "requests", "rate_limit_exceeded", None),
    (
        errors.UpstreamRateLimited("p", "m", retry_after=None, code="insufficient_quota"),
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
    ),
    (errors.UpstreamFailed("p", "m"), 502, SERVER, SERVER, None),
    (errors.UpstreamUnreachable("p", "m"), 503, SERVER, SERVER, None),
    (errors.UpstreamTimedOut("p", "m"), 504, SERVER, SERVER, None),
    (errors.UpstreamDisconnected("p", "m"), 502, SERVER, SERVER, None),
    (errors.UpstreamGarbled("p", "m"), 502, SERVER, SERVER, None),
    (errors.RecordingMissing("p", "chat_completion", "f", "-a"), 424, "upstream_error", "recording_missing", None),
    (errors.RecordingUnreadable("p", "f", "m"), 424, "upstream_error", "recording_unreadable", None),
    (errors.TurnLost("resp_1"), 500, SERVER, SERVER, None),
    (errors.IdempotencyKeyLost("k"), 503, SERVER, SERVER, None),
    (errors.Overloaded("too many turns"), 503, SERVER, SERVER, None),
    (errors.NotReady("it is shutting down"), 503, SERVER, SERVER, None),
    (errors.ShuttingDown(), 503, SERVER, SERVER, None),
    (errors.StorageUnavailable("disk I/O error in table conversation_items"), 503, SERVER, SERVER, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case[0]).__name__)
def test_every_error_has_its_status_type_code_and_param(case):
    error, *expected = case
    refusal = refusal_of(error, "req_1")
    assert [refusal.status, refusal.type, refusal.code, refusal.param] == expected
    assert refusal.expected


def test_no_error_that_a_request_can_meet_is_left_out():
    at_start_only = {errors.ConfigError, errors.EnvVarError, errors.DatabaseTooNew}
    bases = {errors.StackError, errors.RequestError, errors.UpstreamError, errors.NotFound, errors.StorageError}
    foreign = {cls for cls in all_errors() if cls.__module__ != errors.__name__}
    assert {type(error) for error, *_ in CASES} == set(all_errors()) - at_start_only - bases - foreign


@pytest.mark.parametrize("error", [case[0] for case in CASES], ids=lambda error: type(error).__name__)
def test_the_body_is_the_envelope_with_all_four_keys(error):
    body = json.loads(refusal_of(error, "req_1").body)
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}


def test_the_callers_errors_speak_for_themselves():
    assert refusal_of(errors.ConversationNotFound("conv_1"), "req_1").message == (
        "Conversation with id 'conv_1' not found."
    )


def test_a_storage_error_does_not_show_its_insides():
    for error in (errors.StorageUnavailable("table conversation_items"), errors.DatabaseTooNew("db", "a", "b")):
        assert "conversation_items" not in refusal_of(error, "req_1").message
        assert "db" not in refusal_of(error, "req_1").message.split()


@pytest.mark.parametrize("error", [ValueError("secret"), KeyError("secret"), errors.ConfigError("secret", [])])
def test_an_unforeseen_error_is_a_server_error_that_shows_nothing_but_the_request_id(error):
    refusal = refusal_of(error, "req_1")
    assert (refusal.status, refusal.type, refusal.expected) == (500, SERVER, False)
    assert refusal.message == "The server had an error while processing your request. (Request id: req_1)"


def test_an_error_derived_from_a_known_one_is_answered_like_it():
    class Special(errors.ConversationNotFound):
        pass

    assert refusal_of(Special("conv_1"), "req_1").status == 404


@pytest.mark.parametrize("api", [ChatCompletions, Models])
def test_an_unknown_model_is_404_outside_responses(api):
    refusal = refusal_of(errors.ModelNotFound("m"), "req_1", api)
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", None)
    assert refusal_of(errors.ModelNotFound("m"), "req_1", Responses).status == 400


def test_a_model_that_the_upstream_does_not_know_is_answered_like_an_unknown_one():
    assert refusal_of(errors.UpstreamModelNotFound("p", "m"), "req_1", ChatCompletions).status == 404
    assert refusal_of(errors.UpstreamModelNotFound("p", "m"), "req_1", Responses).status == 400


def test_a_duplicate_item_names_the_field_in_which_items_come():
    assert refusal_of(errors.DuplicateItem("msg_1"), "req_1", Conversations).param == "items"
    assert refusal_of(errors.DuplicateItem("msg_1"), "req_1", Responses).param == "input"


def test_a_locked_conversation_asks_the_client_to_retry():
    headers = refusal_of(errors.ConversationLocked("conv_1"), "req_1").headers
    assert headers == {"x-should-retry": "true", "retry-after-ms": "1000"}


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.UpstreamRateLimited("p", "m", retry_after="7"), {"retry-after": "7"}),
        (
            errors.UpstreamRateLimited("p", "m", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
            {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"},
        ),
        (errors.UpstreamRateLimited("p", "m", retry_after=None), {}),
        (errors.UpstreamRateLimited("p", "m", retry_after="7\r\nx-evil: 1"), {}),
        (errors.UpstreamRateLimited("p", "m", retry_after="été"), {}),
        (
            errors.UpstreamRateLimited("p", "m", retry_after="7", code="insufficient_quota"),
            {"retry-after": "7", "x-should-retry": "false"},
        ),
        (errors.UpstreamGarbled("p", "m"), {"x-should-retry": "false"}),
        (errors.UpstreamUnreachable("p", "m"), {"retry-after": "1"}),
        (errors.Overloaded("x"), {"retry-after": "1"}),
        (errors.MethodNotAllowed("PUT", "/x", ["GET", "HEAD"]), {"allow": "GET, HEAD"}),
    ],
)
def test_headers_say_whether_and_when_to_retry(error, headers):
    assert refusal_of(error, "req_1").headers == headers


def test_what_a_retry_cannot_mend_is_no_5xx():
    for error in (
        errors.UpstreamDenied("p", "m"),
        errors.UpstreamRejected("p", "m"),
        errors.UpstreamModelNotFound("p", "m"),
    ):
        assert refusal_of(error, "req_1").status < 500


def test_half_a_surrogate_pair_in_a_message_does_not_spoil_the_answer():
    body = refusal_of(errors.ModelNotFound("\ud800"), "req_1").body
    assert "\\ud800" in body.decode("ascii")
