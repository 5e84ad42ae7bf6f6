"""Padding that makes deltas of all lengths look alike."""

from __future__ import annotations

import zlib

import pytest

from llama_conversations.services.responses.obfuscation import BLOCK, padding_for


@pytest.mark.parametrize("length", range(70))
def test_delta_and_padding_fill_whole_blocks(length):
    padding = padding_for(length)
    assert (length + len(padding)) % BLOCK == 0
    assert len(padding) < BLOCK


@pytest.mark.parametrize(("delta", "length"), [("{", 15), (' "', 14), ("location", 8), ("**Craft", 9)])
def test_short_deltas_are_padded_as_observed_live(delta, length):
    assert len(padding_for(len(delta))) == length


def test_padding_needs_no_escapes_in_json():
    characters = {character for _ in range(300) for character in padding_for(1)}
    assert characters.isdisjoint('"\\')
    assert all(" " < character < "\x7f" for character in characters)


def test_no_two_paddings_are_alike_and_none_compresses_away():
    paddings = [padding_for(1) for _ in range(100)]
    assert len(set(paddings)) == 100
    assert len(zlib.compress("".join(paddings).encode())) > 100 * 15 * 6 // 8
