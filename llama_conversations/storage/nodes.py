"""Which processes on this machine are alive: each holds a lock file that the operating system frees when it dies.

With it, the turns of a process that was killed are failed, and their conversations unlocked, as soon as another process
looks, instead of when the leases run out. It serves databases that are a local file; elsewhere the leases decide.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_LITTER_AGE_SECONDS = 3600
_NODE = re.compile(r"^node-[0-9a-f]{16}$")


class NodeLocks:
    """The lock files of the processes that share a directory.

    Args:
        directory: Where they lie; made if absent.
    """

    def __init__(self, directory: Path) -> None:
        self.node = f"node-{secrets.token_hex(8)}"
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._path(self.node))
        self._lock.acquire(timeout=0)
        self._remove_litter()

    def is_dead(self, node: str) -> bool:
        """Whether the process of that node has died; removes its lock file if so."""
        if node == self.node or not _NODE.match(node):
            return False
        path = self._path(node)
        if not path.exists():
            return True
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        path.unlink(missing_ok=True)
        lock.release()
        return True

    def release(self) -> None:
        """Give the lock up and remove the file."""
        self._path(self.node).unlink(missing_ok=True)
        self._lock.release()

    def _remove_litter(self) -> None:
        """Remove files of processes that died long ago; a young file may be one that is just being locked."""
        oldest = time.time() - _LITTER_AGE_SECONDS
        for path in self._directory.glob("node-*.lock"):
            with suppress(FileNotFoundError):  # another process may be removing it, too
                if path.stat().st_mtime < oldest:
                    self.is_dead(path.stem)

    def _path(self, node: str) -> Path:
        return self._directory / f"{node}.lock"
