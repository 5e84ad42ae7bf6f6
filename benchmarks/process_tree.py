"""What a process and those that it started cost: CPU time and memory, from Linux's ``/proc`` (man 5 proc)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CPU_CLOCK = 2  # the clock of a process's CPU time, all its threads (linux/posix-timers.h, CPUCLOCK_SCHED)


@dataclass(frozen=True)
class ProcessTree:
    """A process and its descendants, those that come and go as well."""

    pid: int

    def cpu_seconds(self) -> float:
        """CPU time so far, of descendants that have ended and were waited for, too."""
        return sum(map(_cpu_seconds, self.pids()))

    def memory_bytes(self) -> int:
        """What they hold in memory (RSS); pages that they share count for each."""
        return sum(map(_memory_bytes, self.pids()))

    def pids(self) -> list[int]:
        """The process, its children, theirs, and so on, those that run now."""
        parents = dict(_parents())
        found = [self.pid]
        for pid in found:  # it grows meanwhile, by the next generation
            found += (child for child, parent in parents.items() if parent == pid)
        return found


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(folder.name)):
            yield int(folder.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the state on; none where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return []


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    if not fields:
        return 0.0
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | _CPU_CLOCK) + (int(fields[13]) + int(fields[14])) / _TICKS
    return 0.0


def _memory_bytes(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    return 0
