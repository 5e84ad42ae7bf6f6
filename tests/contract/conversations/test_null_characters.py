"""U+0000, which PostgreSQL holds in JSON only: kept where the text is JSON, refused plainly where it is not."""

from __future__ import annotations

import pytest

from harness.answers import ok, refused
from harness.conversations import create, items_of, user


def test_it_is_kept_in_items_and_metadata(http):
    conversation = create(http, [user("a\0b")], metadata={"k\0": "v\0"})
    assert items_of(http, conversation)[0]["content"][0]["text"] == "a\0b"
    assert ok(http.get(f"/conversations/{conversation}"))["metadata"] == {"k\0": "v\0"}


@pytest.mark.databases("postgres")
@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_it_is_refused_in_a_prompt_and_nothing_is_left_behind(http, text):
    before = ok(http.get("/prompts"))
    assert "U+0000" in refused(http.post("/prompts", json={"prompt": text}), 400, "invalid_value")
    assert ok(http.get("/prompts")) == before
