"""Thoughts between tags, told from the answer, however the text is cut into deltas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.services.responses.chat_deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from llama_conversations.services.responses.think_tags import TAGS, ThinkTags
from llama_conversations.wire.responses import InputTokensDetails, OutputTokensDetails, Usage

CALL = ToolCallDelta(0, "call_1", "f", "{}")
USAGE = Usage(
    input_tokens=1,
    input_tokens_details=InputTokensDetails(),
    output_tokens=1,
    output_tokens_details=OutputTokensDetails(),
    total_tokens=2,
)


def split(texts: Iterable[str]) -> list[Delta]:
    tags = ThinkTags()
    deltas = [delta for text in texts for delta in tags.add(TextDelta(text))]
    return [*deltas, *tags.close()]


def joined(deltas: Iterable[Delta]) -> tuple[str, str]:
    """Thoughts and answer; thoughts never come behind the answer."""
    kinds = [type(delta) for delta in deltas]
    assert kinds == sorted(kinds, key=lambda kind: kind is TextDelta)
    thoughts = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    return thoughts, "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>a b</think>c d", "a b", "c d"),
        ("<think>\na\n</think>\n\nc\n", "a", "c\n"),
        (" \n\t<think>a</think>c", "a", "c"),
        ("<think>\n\n</think>\n\nc", "", "c"),
        ("<think></think>", "", ""),
        ("<think>a", "a", ""),
        ("<think>a \n", "a \n", ""),
        ("<think>a</thi", "a</thi", ""),
        ("<think>  </thi", "</thi", ""),
        ("<think>a</think ></think>c", "a</think >", "c"),
        ("<think>a<think>b</think>c</think>d", "a<think>b", "c</think>d"),
        ("<think>a</think>c<think>d</think>e", "a", "c<think>d</think>e"),
        ("<think>1 < 2 </ 3</think>c", "1 < 2 </ 3", "c"),
        ("<think>a</thinking></think>c", "a</thinking>", "c"),
        ("<thinking>a</think></thinking>c", "a</think>", "c"),
        ("[THINK]a[/THINK]c", "a", "c"),
        ("◁think▷a◁/think▷c", "a", "c"),
        ("<seed:think>a</seed:think>c", "a", "c"),
        ("<mm:think>a</mm:think>c", "a", "c"),
        ("<thought>a</thought>c", "a", "c"),
    ],
)
def test_thoughts_at_the_beginning_are_told_from_the_answer(text, thoughts, answer):
    assert joined(split([text])) == (thoughts, answer)
    assert joined(split(text)) == (thoughts, answer)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n",
        "Hello",
        "  Hello <think>a</think>",
        "<thin",
        " <thin",
        "<b>bold</b>",
        "<Think>a</Think>",
        "<think >a</think>",
        "<reasoning>a</reasoning>b",
        "[1, 2]",
        "[THIN",
        "a</think>b",
        "<|channel|>analysis<|message|>a<|end|>",
    ],
)
def test_text_without_a_tag_at_its_beginning_stays_as_it_is(text):
    assert joined(split([text])) == ("", text)
    assert joined(split(text)) == ("", text)


PIECES = st.sampled_from(
    [*TAGS, *TAGS.values(), "<", ">", "</", "[", "◁", " ", "\n", "a", "bc", "think", "THINK]", "<think", "</think"]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)
CUTS = st.lists(st.integers(min_value=0, max_value=80), max_size=12)


def cut(text: str, cuts: Sequence[int]) -> list[str]:
    ends = sorted({min(end, len(text)) for end in cuts} | {len(text)})
    return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@given(TEXTS, CUTS)
def test_any_cut_gives_what_the_whole_gives(text, cuts):
    assert joined(split(cut(text, cuts))) == joined(split([text]))


@given(st.sampled_from(sorted(TAGS)), TEXTS, CUTS)
def test_any_cut_of_thoughts_gives_what_the_whole_gives(opening, rest, cuts):
    text = f" {opening}{rest}"
    assert joined(split(cut(text, cuts))) == joined(split([text]))


@given(TEXTS, CUTS)
def test_text_without_a_tag_at_its_beginning_is_the_very_same_deltas(text, cuts):
    if text.lstrip(" \t\r\n").startswith(tuple(TAGS)):
        return
    tags = ThinkTags()
    deltas = [TextDelta(piece) for piece in cut(text, cuts)]
    passed = [*(out for delta in deltas for out in tags.add(delta)), *tags.close()]
    assert [id(delta) for delta in passed] == [id(delta) for delta in deltas]


@given(st.sampled_from(sorted(TAGS)), TEXTS)
def test_no_text_is_lost_but_tags_and_the_blanks_around_them(opening, rest):
    thoughts, answer = joined(split([opening + rest]))
    before, _, after = rest.partition(TAGS[opening])
    if TAGS[opening] in rest:
        assert (thoughts, answer) == (before.strip(" \t\r\n"), after.lstrip(" \t\r\n"))
    else:
        assert (thoughts, answer) == (before.lstrip(" \t\r\n"), "")


def test_text_is_held_only_while_it_may_become_a_tag():
    tags = ThinkTags()
    assert tags.add(TextDelta("<")) == ()
    assert tags.add(TextDelta("th")) == ()
    assert tags.add(TextDelta("e")) == (TextDelta("<"), TextDelta("th"), TextDelta("e"))
    assert tags.add(TextDelta("<think>")) == (TextDelta("<think>"),)


def test_thoughts_are_held_only_while_they_may_become_a_tag():
    tags = ThinkTags()
    assert tags.add(TextDelta("<think>a")) == (ReasoningDelta("a"),)
    assert tags.add(TextDelta("b </thi")) == (ReasoningDelta("b"),)
    assert tags.add(TextDelta("s")) == (ReasoningDelta(" </this"),)
    assert tags.add(TextDelta("</think>")) == ()
    assert tags.add(TextDelta(" ")) == ()
    assert tags.add(TextDelta(" c")) == (TextDelta("c"),)
    assert tags.add(TextDelta(" ")) == (TextDelta(" "),)


def test_no_closing_tag_holds_its_first_character_twice():
    assert [closing for closing in TAGS.values() if closing.count(closing[0]) > 1] == []


def test_no_opening_tag_begins_another():
    assert [(a, b) for a in TAGS for b in TAGS if a != b and a.startswith(b)] == []


@pytest.mark.parametrize("other", [CALL, RefusalDelta("no"), Finished("stop")])
def test_what_was_held_comes_before_what_is_no_text(other):
    tags = ThinkTags()
    assert tags.add(TextDelta(" <th")) == ()
    assert tags.add(other) == (TextDelta(" <th"), other)
    assert tags.close() == ()


def test_thoughts_that_were_held_come_before_a_call():
    tags = ThinkTags()
    assert tags.add(TextDelta("<think>a\n")) == (ReasoningDelta("a"),)
    assert tags.add(CALL) == (ReasoningDelta("\n"), CALL)
    assert tags.add(TextDelta("b</think>c")) == (ReasoningDelta("b"), TextDelta("c"))


def test_after_thoughts_that_came_apart_no_tag_is_looked_for():
    tags = ThinkTags()
    assert tags.add(ReasoningDelta("a")) == (ReasoningDelta("a"),)
    assert tags.add(TextDelta("<think>")) == (TextDelta("<think>"),)


def test_usage_in_every_chunk_changes_nothing():
    tags = ThinkTags()
    assert tags.add(USAGE) == (USAGE,)
    assert tags.add(TextDelta("<thi")) == ()
    assert tags.add(USAGE) == (USAGE,)
    assert tags.add(TextDelta("nk>a")) == (ReasoningDelta("a"),)


def entries(*tokens: str) -> list[dict[str, object]]:
    return [{"token": token, "logprob": -0.5, "bytes": [], "top_logprobs": []} for token in tokens]


def test_logprobs_of_the_answer_stay_with_it():
    whole = TextDelta("<think>a</think>\n\nc d", entries("<think>", "a", "</think>", "\n\n", "c", " d"))
    assert list(ThinkTags().add(whole)) == [ReasoningDelta("a"), TextDelta("c d", entries("c", " d"))]


def test_a_token_that_is_only_partly_of_the_answer_has_no_logprob():
    whole = TextDelta("<think>a</think>\n\nc d", entries("<think>", "a</think>\n", "\nc", " d"))
    assert list(ThinkTags().add(whole)) == [ReasoningDelta("a"), TextDelta("c d", entries(" d"))]


def test_logprobs_of_held_text_come_with_it():
    tags = ThinkTags()
    first, second = TextDelta("<t", entries("<t")), TextDelta("d>", entries("d>"))
    assert [*tags.add(first), *tags.add(second)] == [first, second]
