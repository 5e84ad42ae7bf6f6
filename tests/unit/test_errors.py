"""Errors carry facts, say them in words that a caller may read, and stand in the tree that the module draws."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from llama_conversations import errors
from llama_conversations.errors import (
    ConfigError,
    ConfigProblem,
    ConversationLocked,
    ConversationNotFound,
    CursorNotFound,
    DatabaseTooNew,
    DuplicateItem,
    EnvVarError,
    InvalidParameter,
    ItemNotFound,
    MethodNotAllowed,
    ModelNotFound,
    MutuallyExclusiveParameters,
    Overloaded,
    PreviousResponseNotFound,
    PromptNotFound,
    ProviderNotFound,
    ReferencedItemNotFound,
    RequestTooLarge,
    ResponseNotFound,
    RouteNotFound,
    ShuttingDown,
    StackError,
    StreamStalled,
    TurnLost,
    UnsupportedParameter,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
)

INDENT = 4
CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if cls.__module__ == errors.__name__ and issubclass(cls, Exception)
}


def drawn() -> Iterator[tuple[str, str]]:
    """Each error of the module's picture with its parent there."""
    assert errors.__doc__ is not None
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"^(?: {4})((?:[│├└─ ]{4})*)([A-Z]\w+(?:, [A-Z]\w+)*),?(?: {2,}|$)", line)
        if found is None:
            continue
        depth = len(found[1]) // INDENT
        names = found[2].split(", ")
        for name in names:
            yield name, path[depth - 1] if depth else "Exception"
        path[depth:] = [names[-1]]


def test_the_picture_of_the_tree_is_the_tree() -> None:
    assert dict(drawn()) == {name: cls.__bases__[0].__name__ for name, cls in CLASSES.items()}


@pytest.mark.parametrize(
    ("error", "message", "facts"),
    [
        (InvalidParameter("Bad.", param="items[3]"), "Bad.", {"param": "items[3]", "code": "invalid_value"}),
        (InvalidParameter("Bad.", param=None, code=None), "Bad.", {"param": None, "code": None}),
        (
            UnsupportedParameter("background"),
            "Unsupported parameter: 'background' is not supported by this server.",
            {"param": "background"},
        ),
        (UnsupportedParameter("tools[0]", "No such tools."), "No such tools.", {"param": "tools[0]"}),
        (
            MutuallyExclusiveParameters("a", "b"),
            "Mutually exclusive parameters: 'a' and 'b'. Ensure you are only providing one of them.",
            {"params": ("a", "b")},
        ),
        (
            ConversationNotFound("conv_1"),
            "Conversation with id 'conv_1' not found.",
            {"conversation_id": "conv_1"},
        ),
        (
            ItemNotFound("msg_1", "conv_1"),
            "Item with id 'msg_1' not found in conversation.",
            {"item_id": "msg_1", "conversation_id": "conv_1"},
        ),
        (ReferencedItemNotFound("msg_1"), "Item with id 'msg_1' not found.", {"item_id": "msg_1"}),
        (ResponseNotFound("resp_1"), "Response with id 'resp_1' not found.", {"response_id": "resp_1"}),
        (
            PreviousResponseNotFound("resp_1"),
            "Previous response with id 'resp_1' not found.",
            {"response_id": "resp_1"},
        ),
        (PromptNotFound("pmpt_1"), "Prompt with id 'pmpt_1' not found.", {"prompt_id": "pmpt_1", "version": None}),
        (
            PromptNotFound("pmpt_1", 3),
            "Prompt with id 'pmpt_1' and version '3' not found.",
            {"prompt_id": "pmpt_1", "version": 3},
        ),
        (ProviderNotFound("p"), "Provider with id 'p' not found.", {"provider_id": "p"}),
        (RouteNotFound("GET", "/x"), "Invalid URL (GET /x)", {"method": "GET", "path": "/x"}),
        (
            MethodNotAllowed("PUT", "/x", ["GET", "POST"]),
            "Not allowed to PUT on /x (allowed: GET, POST).",
            {"allowed": ("GET", "POST")},
        ),
        (ModelNotFound("m"), "The requested model 'm' does not exist.", {"model": "m", "candidates": ()}),
        (
            ModelNotFound("m", ["a/m", "b/m"]),
            "The model 'm' is served by several providers: name one of a/m, b/m.",
            {"candidates": ("a/m", "b/m")},
        ),
        (
            DuplicateItem("msg_1"),
            "Duplicate item found with id 'msg_1'. Remove duplicate items from your input and try again.",
            {"item_id": "msg_1"},
        ),
        (
            CursorNotFound("after", "msg_1"),
            "Invalid 'after': no entry with id 'msg_1' is in this list.",
            {"param": "after", "cursor": "msg_1"},
        ),
        (
            ConversationLocked("conv_1"),
            "Another process is currently operating on conversation 'conv_1'. Please retry in a few seconds.",
            {"conversation_id": "conv_1"},
        ),
        (
            RequestTooLarge(10),
            "The request body is too large: at most 10 bytes are accepted.",
            {"limit_bytes": 10},
        ),
        (
            StreamStalled(60),
            "Nothing of the stream was read for 60 seconds: the rest of it was dropped.",
            {"seconds": 60},
        ),
        (UpstreamError("p", "It broke."), "It broke.", {"provider_id": "p", "message": "It broke."}),
        (UpstreamRejected("p", "Bad.", code="c", param="x"), "Bad.", {"code": "c", "param": "x"}),
        (
            UpstreamRateLimited("p", "Slow.", retry_after="7"),
            "Slow.",
            {"retry_after": "7", "code": "rate_limit_exceeded"},
        ),
        (
            TurnLost("resp_1"),
            "The turn of response 'resp_1' was lost: its lease ran out before it could be stored.",
            {"response_id": "resp_1"},
        ),
        (Overloaded("no room"), "The server is overloaded: no room. Please retry.", {}),
        (ShuttingDown(), "The server is shutting down. Please retry.", {}),
    ],
)
def test_an_error_says_its_facts_and_carries_them(error: StackError, message: str, facts: dict[str, object]) -> None:
    assert str(error) == message
    assert {name: getattr(error, name) for name in facts} == facts


def test_a_configuration_error_lists_everything_with_its_file_and_path() -> None:
    problems = [ConfigProblem("server.port", "too large"), ConfigProblem("", "not a mapping")]
    error = ConfigError("run.yaml", problems)
    assert str(error) == "run.yaml: server.port: too large\nrun.yaml: not a mapping"
    assert (error.source, error.problems) == ("run.yaml", tuple(problems))


def test_a_missing_variable_is_named_with_its_place_and_both_ways_out() -> None:
    error = EnvVarError("run.yaml", "providers.inference[0].config.api_key", "API_KEY")
    assert (error.name, error.path) == ("API_KEY", "providers.inference[0].config.api_key")
    assert str(error).startswith("run.yaml: providers.inference[0].config.api_key: ")
    assert "set it, or give a default in the file: ${env.API_KEY:=default}" in str(error)


def test_a_database_that_is_too_new_names_both_revisions() -> None:
    error = DatabaseTooNew("/data/state.db", "0009", "0002")
    assert (error.found, error.known) == ("0009", "0002")
    assert "/data/state.db has schema revision 0009, newer than 0002" in str(error)


def test_no_error_knows_of_http() -> None:
    source = inspect.getsource(errors).partition('"""\n\nfrom')[2]
    assert not re.search(r"\bstatus_code\b|\bstarlette\b|\bhttp\.", source)
