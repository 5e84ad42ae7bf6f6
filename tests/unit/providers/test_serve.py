"""How much of the machine the model takes."""

from __future__ import annotations

import pytest

from llama_conversations_providers.inference.llama_cpp.serve import _threads


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, -1), (64, -1)])
def test_a_core_is_left_to_others_where_there_are_few(cores: int, threads: int) -> None:
    assert _threads(cores) == threads
