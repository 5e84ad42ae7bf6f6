"""Processes that start several times as fast: as forks of one that has imported everything (``forking``)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from select import select

from harness.server import StackServer

_FORKING = Path(__file__).with_name("forking.py")
_MAX_ANSWER = 1024

_STACK = "import sys; from llama_conversations.cli.main import app; sys.exit(app(prog_name='stack'))"


class Forker:
    """The process that forks; it is started when it is asked for something first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()

    def ask(self, *files: int, **what: object) -> object:
        """Its answer; it gets files along."""
        with self._one_at_a_time:
            if self._process is None:
                self._start()
            socket.send_fds(self._asking, [json.dumps(what).encode()], files)
            answer = self._asking.recv(_MAX_ANSWER)
        assert answer, "the process that forks has ended; standard error says why"
        return json.loads(answer)

    def _start(self) -> None:
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-P", str(_FORKING)], env=environ, stdin=theirs)

    def close(self) -> None:
        """End it, if it was started."""
        if self._process is not None:
            self._asking.close()
            self._process.wait()
            self._process = None


FORKER = Forker()
"""The one of this process. ``conftest`` closes it."""


class ForkedProcess:
    """Python code that runs in a process of its own; as a ``subprocess.Popen``, as far as that is used.

    Args:
        arguments: What it finds in ``sys.argv``.
        environ: All of its environment, instead of this process's own.
        stderr: The number of a file, or ``subprocess.STDOUT``.
    """

    def __init__(
        self,
        code: str,
        arguments: Sequence[str],
        directory: Path,
        environ: Mapping[str, str] | None = None,
        stderr: int = 2,
    ) -> None:
        output, theirs = os.pipe()
        self.stdout = open(output, encoding="utf-8")  # noqa: PTH123, SIM115  (a number; closed by whoever reads it)
        self._code: object = None
        try:
            pid = FORKER.ask(
                *(theirs, theirs if stderr == subprocess.STDOUT else stderr),
                code=code,
                arguments=list(arguments),
                directory=str(directory),
                environ=dict(os.environ if environ is None else environ),
            )
        finally:
            os.close(theirs)
        assert isinstance(pid, int)
        self.pid = pid
        self._ended = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self._code is None:
            self._code = FORKER.ask(poll=self.pid)
        return self._code  # type: ignore[return-value]

    def wait(self, timeout: float) -> int:
        """Its exit code, when it has ended."""
        if not select([self._ended], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("python", timeout)
        code = self.poll()
        assert code is not None
        return code

    def finish(self, timeout: float) -> tuple[str, int]:
        """Wait until it has ended; what it has printed, and its exit code."""
        with self.stdout as output:
            said = output.read()
        return said, self.wait(timeout)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._ended, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        if hasattr(self, "_ended"):
            os.close(self._ended)


class ForkedServer(StackServer):
    """As ``StackServer``, for tests that are not about the command line and how it starts.

    Its environment counts from the command on: ``PYTHONPATH``, say, would come too late.
    """

    def _launched(self, *arguments: str) -> subprocess.Popen[str]:
        arguments = ("stack", *arguments)
        return ForkedProcess(  # type: ignore[return-value]
            _STACK, arguments, self._directory, self._environ, subprocess.STDOUT
        )
