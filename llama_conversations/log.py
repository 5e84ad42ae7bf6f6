"""Logging: one logger per module, one format, to standard error."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)-7s {process}%(name)s: %(message)s"


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; pass ``__name__``."""
    return logging.getLogger(name)


def configure_logging(level: str, process: str | None = None) -> None:
    """Send the log to standard error.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        process: Which one of several processes this is; each of its lines says so.
    """
    form = FORMAT.format(process=f"[{process}] " if process else "")
    logging.basicConfig(level=level.upper(), format=form, force=True)
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)  # the storage tells of a database that is away, once
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every plug-in that it sets up
