"""From what a search service answers to results."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

import orjson

from llama_conversations.apis.web_search import SearchResult
from llama_conversations_providers.web_search.remote.config import AnswerPaths

_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>")


class NotAnAnswer(ValueError):
    """It is not JSON, or has no results where they should be."""


def read_results(body: bytes, paths: AnswerPaths) -> Sequence[SearchResult]:
    """The results of an answer, without what has no address. Errors: ``NotAnAnswer``."""
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotAnAnswer from error
    found = _at(answer, paths.results)
    if found is None and paths.may_lack_results and isinstance(answer, dict):
        return ()
    if not isinstance(found, list):
        raise NotAnAnswer
    return list(_results(found, paths))


def _results(entries: Sequence[object], paths: AnswerPaths) -> Iterator[SearchResult]:
    for entry in entries:
        url = _at(entry, paths.url)
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            title = _plain(_at(entry, paths.title))
            yield SearchResult(title or url, url, _plain(_at(entry, paths.snippet)))


def _at(value: object, path: str) -> object:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _plain(value: object) -> str:
    """Text without the markup that some services put in it, and without line ends."""
    return " ".join(html.unescape(_MARKUP.sub("", value)).split()) if isinstance(value, str) else ""
