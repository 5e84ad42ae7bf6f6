"""Settings of ``remote::web-search``: presets fill in what is not given, and what cannot be sent is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llama_conversations_providers.web_search.remote.config import WebSearchConfig

URL = "http://localhost:8080/search"


def test_what_is_given_goes_before_the_preset_entry_by_entry() -> None:
    config = WebSearchConfig.model_validate(
        {"preset": "brave", "answer": {"title": "name"}, "count_parameter": "n", "parameters": {"a": 1}}
    )
    assert config.url == "https://api.search.brave.com/res/v1/web/search"
    assert (config.count_parameter, config.parameters) == ("n", {"a": 1})
    assert (config.answer.title, config.answer.results, config.answer.snippet) == ("name", "web.results", "description")
    searxng = WebSearchConfig.model_validate({"preset": "searxng", "url": URL, "parameters": {"language": "de"}})
    assert searxng.parameters == {"format": "json", "language": "de"}


@pytest.mark.parametrize(
    ("settings", "where", "words"),
    [
        ({"preset": "searxng"}, "url", "required"),
        ({"preset": "google", "url": URL}, "preset", "searxng"),
        ({"url": "ftp://x"}, "url", "http:// or https://"),
        ({"url": "https://u:p@x/"}, "url", "no user name"),
        ({"url": "http://x:99999/"}, "url", "out of range"),
        ({"url": URL, "api_key": "a\nb"}, "api_key", "control characters"),
        ({"url": URL, "api_key_header": "a b"}, "api_key_header", "no header name"),
        ({"url": URL, "headers": {"a b": "x"}}, "headers", "no header name"),
        ({"url": URL, "answer": {"results": "a..b"}}, "answer", "keys with dots"),
        ({"url": URL, "limit": 5}, "limit", "not permitted"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(settings: dict[str, object], where: str, words: str) -> None:
    with pytest.raises(ValidationError) as found:
        WebSearchConfig.model_validate(settings)
    [error] = found.value.errors()
    assert error["loc"][0] == where
    assert words in error["msg"]


def test_a_configuration_that_is_no_object_is_left_to_be_refused() -> None:
    with pytest.raises(ValidationError):
        WebSearchConfig.model_validate([])
