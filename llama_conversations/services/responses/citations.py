"""Which pages a text cites: wherever it names the address of a page that a search found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llama_conversations.wire.events import JsonObject

_ENDS = r"(?=[.,;:!?]*(?:$|[\s)\]}>\"'*`|<\u3001-\u3011\uff01-\uff5e]))"
"""What may follow an address that stands in a text: otherwise it is the begin of a longer one."""


def url_citations(text: str, pages: Mapping[str, str]) -> Sequence[JsonObject]:
    """A ``url_citation`` for every place of a text that names one of the pages, in their order.

    A Markdown link is cited as a whole, ``[words](address)``; an address by itself is cited alone. ``start_index`` and
    ``end_index`` count characters (Unicode code points); the end is the place behind the last one.

    Args:
        pages: From addresses to titles.
    """
    if not pages or "://" not in text:
        return []
    titles = {url.rstrip("/"): (url, title) for url, title in pages.items()}
    longest_first = sorted(titles, key=len, reverse=True)
    address = f"(?:{'|'.join(map(re.escape, longest_first))})/?"
    link = rf"\[[^\[\]\n]*\]\(<?(?P<linked>{address})>?(?:\s+\"[^\"\n]*\")?\)"
    found = re.finditer(rf"{link}|(?<![A-Za-z0-9_/=%&?.-])(?P<bare>{address}){_ENDS}", text)
    return [_citation(place, *titles[(place["linked"] or place["bare"]).rstrip("/")]) for place in found]


def _citation(place: re.Match[str], url: str, title: str) -> JsonObject:
    return {
        "type": "url_citation",
        "start_index": place.start(),
        "end_index": place.end(),
        "url": url,
        "title": title,
    }
