"""The engine's map names every module of it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from llama_conversations.services import responses


def test_the_map_of_the_engine_is_complete() -> None:
    drawn = responses.__doc__
    assert drawn is not None
    assert responses.__file__ is not None
    modules = {path.name for path in Path(responses.__file__).parent.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"\b\w+\.py\b", drawn)) == modules
