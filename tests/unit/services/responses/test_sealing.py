"""Tokens that only we can open, and that are let alone when they are somebody else's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.services.responses.sealing import Sealer

OLD, NEW = b"o" * 32, b"n" * 40
SEALER = Sealer(NEW)


@given(st.text(), st.text())
def test_what_was_sealed_opens_for_its_purpose(plaintext, purpose):
    assert SEALER.unseal(SEALER.seal(plaintext, purpose), purpose) == plaintext


def test_a_token_says_its_version_and_is_url_safe():
    assert re.fullmatch(r"lcs1\.[A-Za-z0-9_-]+", SEALER.seal("text" * 100, "reasoning"))


def test_a_token_does_not_tell_the_text_nor_that_it_is_the_same():
    first, second = SEALER.seal("text", "reasoning"), SEALER.seal("text", "reasoning")
    assert first != second


@given(st.text(max_size=20), st.data())
def test_a_token_of_which_any_character_was_changed_does_not_open(plaintext, data):
    token = SEALER.seal(plaintext, "reasoning")
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda character: character != token[place]))
    assert SEALER.unseal(token[:place] + other + token[place + 1 :], "reasoning") is None


@given(st.text(max_size=20), st.integers(0, 100))
def test_a_token_that_was_cut_does_not_open(plaintext, length):
    token = SEALER.seal(plaintext, "reasoning")
    assert length >= len(token) or SEALER.unseal(token[:length], "reasoning") is None


@pytest.mark.parametrize("more", ["=", "A", "\n", " "])
def test_a_token_with_more_behind_it_does_not_open(more):
    assert SEALER.unseal(SEALER.seal("text", "reasoning") + more, "reasoning") is None


def test_a_token_does_not_open_for_another_purpose():
    assert SEALER.unseal(SEALER.seal("text", "reasoning"), "compaction") is None


@given(st.text() | st.binary().map(lambda data: "lcs1." + data.hex()))
def test_what_others_sealed_is_not_ours(token):
    assert SEALER.unseal(token, "reasoning") is None


def test_another_servers_token_does_not_open():
    assert Sealer(OLD).unseal(SEALER.seal("text", "reasoning"), "reasoning") is None


def test_after_a_change_of_keys_the_first_seals_and_all_open():
    changed = Sealer(NEW, OLD)
    assert changed.unseal(Sealer(OLD).seal("text", "reasoning"), "reasoning") == "text"
    assert Sealer(NEW).unseal(changed.seal("text", "reasoning"), "reasoning") == "text"
    assert Sealer(OLD).unseal(changed.seal("text", "reasoning"), "reasoning") is None


@pytest.mark.parametrize("keys", [(b"short",), (NEW, b"o" * 31)])
def test_a_short_key_is_refused(keys):
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Sealer(*keys)
