"""What a failure of PostgreSQL, or of the way there, means for the unit of work that met it.

Codes: postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import asyncpg

from llama_conversations.errors import OutcomeUnknown, StorageUnavailable, UnstorableText
from llama_conversations.log import get_logger

logger = get_logger(__name__)

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What the driver raises."""

NOTHING_STORED = "The database is not available. Nothing was stored."

_OURS = ("22", "23", "42")
"""Classes of errors that say that a statement or its values are wrong."""

_LOST = ("08", "57P")
"""Beginnings of the codes of errors with which the server or the network ends a connection."""

_CONNECTION = ("08", "28000")
"""Beginnings of the codes of a connection that breaks or is not admitted; a wrong password has another one."""

_UNSTORABLE = ("22021", "22P05")
"""Codes of text that PostgreSQL cannot hold: U+0000, since all other text is valid when it gets here."""


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke, rather than a statement failed."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_LOST)
    return not isinstance(error, TimeoutError | asyncpg.DataError)


def is_about_encryption(error: BaseException) -> bool:
    """Whether a connection may have failed for how it was to be encrypted: its settings are then worth telling."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_CONNECTION)
    return isinstance(error, (*DRIVER_ERRORS, ValueError)) and not isinstance(error, TimeoutError)


def failure(error: Exception) -> Exception:
    """What the caller is told: the database cannot serve; or the error itself, where it is a fault of ours."""
    code = str(getattr(error, "sqlstate", None) or "")
    if code in _UNSTORABLE:
        return UnstorableText()
    if code.startswith(_OURS) or isinstance(error, asyncpg.DataError):
        return error
    if isinstance(error, TimeoutError):
        return unavailable("a statement took too long")
    return unavailable(f"{type(error).__name__}: {error}")


def unavailable(reason: str) -> StorageUnavailable:
    """The database has given something up."""
    logger.error("the database failed: %s", reason)
    return StorageUnavailable(NOTHING_STORED)


def commit_failure(error: Exception) -> Exception:
    """What the caller is told when COMMIT failed: where the server's answer is missing, nobody knows what it did."""
    if not (is_lost(error) or isinstance(error, TimeoutError)):
        return failure(error)
    logger.error("the connection broke during a commit: %s: %s", type(error).__name__, error)
    return OutcomeUnknown()
