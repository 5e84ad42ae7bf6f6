"""Bring a database to the newest revision, in one transaction; refuse one that is newer than this software."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from llama_conversations.errors import DatabaseTooNew
from llama_conversations.storage.migrations import HEAD_REVISION


def alembic_config() -> Config:
    """Alembic's settings: nothing but where the revisions lie."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection, location: str) -> None:
    """Apply the revisions that the database lacks.

    Args:
        connection: A connection inside a transaction, which the caller commits.
        location: What to call the database in an error.

    Errors: ``DatabaseTooNew``.
    """
    config = alembic_config()
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseTooNew(location, found, HEAD_REVISION)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
