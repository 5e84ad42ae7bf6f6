"""Logging: one logger per module, one format, to standard error."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; pass ``__name__``."""
    return logging.getLogger(name)


def configure_logging(level: str) -> None:
    """Send the log to standard error, at ``level`` (``debug``, ``info``, ``warning``, ``error``)."""
    logging.basicConfig(level=level.upper(), format=FORMAT, force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every plug-in that it sets up
