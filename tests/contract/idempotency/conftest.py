"""What the tests of idempotency keys share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from scripted_model import ScriptedModel


@pytest.fixture
def key() -> str:
    """A key that nobody has used."""
    return f"key-{uuid.uuid4()}"


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(16) as pool:
        yield pool
        model.open_gate(tag)
