from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("harness.event_stream")

from unit.services.responses.support import ANSWER, Desk, open_desk  # noqa: E402  (its imports are rewritten, too)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A model that says ``Hello you``, and stores behind it."""
    async with open_desk(tmp_path, *ANSWER) as desk:
        yield desk
