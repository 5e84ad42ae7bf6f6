"""What is done again and again in the background: a failure is told, and the next time is another try."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from llama_conversations.errors import StackError


class Upkeep:
    """Some work that is done again and again.

    What it cannot do for a known reason, such as a database that is away, is told once until it has worked again; a
    fault of ours is told each time, with where it is.

    Args:
        log: Where failures are told.
        name: What the work is, such as ``keeping leases``.
    """

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log, self._name = log, name
        self._is_hindered = False

    @contextmanager
    def one_try(self) -> Iterator[None]:
        """Do the work inside of it: nothing that fails there gets out."""
        try:
            yield
        except StackError as error:
            if not self._is_hindered:
                self._log.warning("%s failed, and is tried again: %s", self._name, error)
            self._is_hindered = True
        except Exception:  # noqa: BLE001  (told, with where it is)
            self._log.exception("%s failed", self._name)
        else:
            self._is_hindered = False

    async def every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> NoReturn:
        """Do some work at intervals, for ever."""
        while True:
            await asyncio.sleep(seconds)
            with self.one_try():
                await work()
