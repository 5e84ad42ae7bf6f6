"""A server that starts several times as fast: as a fork of a process that has imported everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness.server import StackServer

TESTS = Path(__file__).parents[1]


class Forker:
    """The process that forks; it ends with the end of its input."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "durability.forking"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}", "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._one_at_a_time = threading.Lock()

    def ask(self, **what: object) -> object:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()


class ForkedProcess:
    """What is used of ``subprocess.Popen``."""

    def __init__(self, forker: Forker, arguments: tuple[str, ...], output: Path) -> None:
        output.unlink(missing_ok=True)
        os.mkfifo(output)
        pid = forker.ask(run=arguments, output=str(output))
        assert isinstance(pid, int)
        self.pid, self._forker = pid, forker
        self._code: object = None
        self.stdout = output.open(encoding="utf-8")

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self._code is None:
            self._code = self._forker.ask(poll=self.pid)
        return self._code  # type: ignore[return-value]

    def wait(self, timeout: float) -> int:
        """Its exit code, when it has ended."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("stack", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; it is there until ``poll`` has told its end."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkedServer(StackServer):
    """As ``StackServer``."""

    _forker: Forker | None = None

    def _launched(self, *arguments: str) -> subprocess.Popen[str]:
        if self._forker is None:
            self._forker = Forker(self._directory)
        return ForkedProcess(self._forker, arguments, self._directory / "output")  # type: ignore[return-value]

    def close(self) -> None:
        """Stop it if it runs, and what starts it."""
        super().close()
        if self._forker is not None:
            self._forker.close()
