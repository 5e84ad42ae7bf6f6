"""SQLite databases with the schema in them: made once per process, and copied."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from harness.postgres import in_its_own_loop
from llama_conversations.config.run_config import StorageConfig
from llama_conversations.storage.open import open_storage


def make_database(path: Path) -> Path:
    """Put a database there with which nobody has done anything yet; the path."""
    path.write_bytes(_upgraded())
    return path


@cache
def _upgraded() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        config = StorageConfig.model_validate({"backends": {"default": {"type": "sql_sqlite", "path": str(path)}}})

        async def upgrade() -> None:
            async with open_storage(config, lease_seconds=30):
                pass

        in_its_own_loop(upgrade())
        return path.read_bytes()
