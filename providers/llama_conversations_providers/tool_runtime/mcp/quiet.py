"""Keeps the protocol's client out of the log: its lines hold addresses, session ids, and bodies as they came.

What goes wrong is told by our own errors instead.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

LOGGERS = (
    "client",  # that is mcp.client.session
    "httpcore2.connection",
    "httpcore2.http11",
    "httpx2",
    "mcp.client.streamable_http",
    "mcp.shared.dispatcher",
    "mcp.shared.jsonrpc_dispatcher",
)

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


class _OnlyFromElsewhere(logging.Filter):
    """Lets through what is logged outside of our sessions: others may use the same packages."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 the filter's protocol
        return not _quiet.get()


_FILTER = _OnlyFromElsewhere()


def install_filters() -> None:
    """Filter the client's loggers; more than once does nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)


async def quietly(work: Callable[[], Awaitable[T]]) -> T:
    """Do something, nothing of which is logged by these loggers; for a task of its own, all of which is quiet."""
    _quiet.set(True)
    return await work()
