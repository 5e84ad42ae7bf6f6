"""Ids: prefix, digits, and the partition that everything of one conversation shares."""

from __future__ import annotations

import re

import pytest

from llama_conversations.ids import MAX_ID_LENGTH, new_call_id, new_id, new_partition, partition_in, partition_of

OURS = "conv_" + "0123abcd" + "0" * 40


@pytest.mark.parametrize(("prefix", "digits"), [("conv", 48), ("msg", 48), ("rs", 48), ("pmpt", 48), ("resp", 50)])
def test_an_id_is_its_prefix_and_hex_digits(prefix: str, digits: int) -> None:
    found = new_id(prefix)
    assert re.fullmatch(rf"{prefix}_[0-9a-f]{{{digits}}}", found)
    assert len(found) <= MAX_ID_LENGTH


def test_no_two_ids_are_alike() -> None:
    assert len({new_id("msg", "0" * 8) for _ in range(1000)}) == 1000
    assert len({new_partition() for _ in range(100)}) == 100
    assert len({new_call_id() for _ in range(100)}) == 100


@pytest.mark.parametrize("prefix", ["conv", "resp", "fc"])
def test_an_id_tells_the_partition_that_it_was_made_in(prefix: str) -> None:
    partition = new_partition()
    assert re.fullmatch("[0-9a-f]{8}", partition)
    made = new_id(prefix, partition)
    assert partition_in(made) == partition_of(made) == partition
    assert partition_in(new_id("msg", partition_of(made))) == partition


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "msg_1",
        "conv_",
        OURS.removeprefix("conv_"),
        OURS.upper(),
        OURS + "000",
        OURS[:-1],
        f"{OURS} ",
        f" {OURS}",
        OURS.replace("0123abcd", "0123abcx"),
        "call_" + "a" * 24,
    ],
)
def test_an_id_of_another_make_has_no_partition_and_gets_a_new_one(foreign: str) -> None:
    assert partition_in(foreign) is None
    assert partition_of(foreign) != partition_of(foreign)


def test_a_call_id_is_24_letters_or_digits() -> None:
    assert re.fullmatch(r"call_[A-Za-z0-9]{24}", new_call_id())
