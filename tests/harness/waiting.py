"""Waiting for what another process does, by looking again and again."""

from __future__ import annotations

import time


def pause() -> None:
    """Between two looks: leave the processor to whoever is waited for, and to the other tests."""
    time.sleep(0.01)
