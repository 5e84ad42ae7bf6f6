"""Threads for what waits, and gates that never stay shut."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from scripted_model import ScriptedModel

pytest.register_assert_rewrite("harness.background")


@pytest.fixture
def gate(model: ScriptedModel, tag: str) -> Iterator[str]:
    """A text that makes the model ``slow`` wait at the gate ``tag``, which is opened in the end."""
    yield f"gate={tag} tag={tag}"
    model.open_gate(tag)


@pytest.fixture
def pool(gate: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait; the gate is opened after them."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
