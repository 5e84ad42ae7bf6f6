"""Which places of a text cite which page."""

from __future__ import annotations

import pytest

from llama_conversations.services.responses.citations import url_citations

A, B = "https://a.org/one", "https://b.org/x?y=(1)"
PAGES = {A: "One", f"{A}/more": "More", B: "B", "https://c.org/": "C"}


def cited(text: str) -> list[tuple[str, str]]:
    """The stretches of a text that are cited, each with the page's title."""
    found = url_citations(text, PAGES)
    assert all(one["type"] == "url_citation" and one["url"] in PAGES for one in found)
    return [(text[one["start_index"] : one["end_index"]], str(one["title"])) for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing", []),
        (A, [(A, "One")]),
        (f"See {A}, or {A}/more.", [(A, "One"), (f"{A}/more", "More")]),
        (f'({A}) <{A}> "{A}" {A}…', [(A, "One")] * 3),
        (f"[one]({A})[b]({B})", [(f"[one]({A})", "One"), (f"[b]({B})", "B")]),
        (f'[one](<{A}> "title") and ([a [b]]({A}))', [(f'[one](<{A}> "title")', "One"), (A, "One")]),
        (f"[{A}]({A})", [(f"[{A}]({A})", "One")]),
        (f"见{A}。", [(A, "One")]),
        (f"👩‍👩‍👧 {A}", [(A, "One")]),
        ("https://c.org and https://c.org/ but not https://c.org/x", [("https://c.org", "C"), ("https://c.org/", "C")]),
        (f"{A}.html {A}-2 {A}?q https://archive.org/{A} x{A} {A}/", [(f"{A}/", "One")]),
        (f"[open link]({A} and more", [(A, "One")]),
    ],
)
def test_an_address_that_was_found_is_cited_where_it_stands_by_itself_or_in_a_link(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert cited(text) == expected


def test_without_pages_nothing_is_cited() -> None:
    assert url_citations(A, {}) == []


def test_a_text_that_is_made_to_be_slow_is_read_in_one_pass() -> None:
    text = "[" * 50_000 + "[x](https://" * 20_000
    assert url_citations(text, PAGES) == []
