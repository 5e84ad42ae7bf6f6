"""Settings of ``remote::web-search``."""

from __future__ import annotations

import re
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, PositiveFloat, PositiveInt, SecretStr, model_validator

from llama_conversations.config.settings import SettingsModel
from llama_conversations.stack.provider_spec import ProviderConfig
from llama_conversations_providers.inference.openai_wire.config import TLS
from llama_conversations_providers.web_search.remote.presets import PRESETS, Preset

QUERY = "{query}"
"""Stands in ``url`` where the query goes, for services that take it in the path."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_NOT_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5


def _check_url(value: str) -> str:
    parts = urlsplit(value.replace(QUERY, ""))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password: use api_key or headers")
    _ = parts.port  # raises ValueError where it is no number from 0 to 65535
    return value


def _check_path(value: str) -> str:
    if not all(value.split(".")):
        raise ValueError(f"must be keys with dots between them, not {value!r}")
    return value


def _check_header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no header name")
    return value


def _check_header_value(value: SecretStr) -> SecretStr:
    if _NOT_IN_HEADERS.search(value.get_secret_value()):
        raise ValueError("must hold no line ends or control characters")
    return value


HeaderName = Annotated[str, AfterValidator(_check_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_check_header_value)]
Path = Annotated[str, AfterValidator(_check_path)]


class AnswerPaths(SettingsModel):
    """Where things are in an answer; keys of nested objects with dots between them, such as ``web.results``.

    Attributes:
        results: The list of results, from the top.
        title: In each result; likewise the next two.
        may_lack_results: Whether there may be no list where nothing was found.
    """

    results: Path = "results"
    title: Path = "title"
    url: Path = "url"
    snippet: Path = "content"
    may_lack_results: bool = False


class WebSearchConfig(ProviderConfig):
    """Which service searches, how it is asked and how it answers.

    Attributes:
        preset: ``searxng``, ``brave`` or ``tavily``: what is not set here is as that service has it.
        url: Its address; ``{query}`` in it is replaced by the query.
        method: ``GET`` sends parameters in the URL, ``POST`` as a JSON object.
        query_parameter: What the query is called; not sent where the URL holds it.
        count_parameter: What the number of results is called, where it can be chosen.
        domains_parameter: What the list of domains is called that pages must be of; where there is none, the query
            is given ``site:`` operators.
        country_parameter: What the user's country is called; it is sent as a two-letter code.
        parameters: Sent with every search.
        api_key: Sent in ``api_key_header``: in ``Authorization`` as a bearer token, in any other header as it is; or as
            the parameter ``api_key_parameter``, where that is set.
        headers: Sent with every search.
        answer: Where its results are.
        timeout_seconds: For a whole search.
        max_results: Of one search.
        max_response_bytes: What is longer is an error.
    """

    preset: Preset | None = None
    url: Annotated[str, AfterValidator(_check_url)]
    method: Literal["GET", "POST"] = "GET"
    query_parameter: str = "q"
    count_parameter: str | None = None
    domains_parameter: str | None = None
    country_parameter: str | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    api_key: HeaderValue | None = None
    api_key_header: HeaderName = "Authorization"
    api_key_parameter: str | None = None
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    answer: AnswerPaths = Field(default_factory=AnswerPaths)
    timeout_seconds: PositiveFloat = 15
    max_results: PositiveInt = 10
    max_response_bytes: PositiveInt = 2 * 1024 * 1024
    tls: TLS = Field(default_factory=TLS)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: object) -> object:
        """What the preset says, unless it is given; of ``parameters`` and ``answer``, each entry by itself."""
        preset = given.get("preset") if isinstance(given, dict) else None
        if preset not in PRESETS:
            return given
        said, told = PRESETS[cast("Preset", preset)], cast("dict[str, object]", given)
        filled: dict[str, object] = {**said, **told}
        for name, entries in said.items():
            if isinstance(entries, dict) and isinstance(told.get(name), dict):
                filled[name] = entries | cast("dict[str, object]", told[name])
        return filled

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        """A SearXNG server."""
        return {"preset": "searxng", "url": "${env.SEARXNG_URL:=http://localhost:8080/search}"}
