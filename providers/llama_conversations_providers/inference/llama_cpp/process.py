"""The model's process, seen from the one that owns it.

It is a process and not a thread because loading holds Python's global lock from beginning to end, stopping holds it for
as long as a client stays connected, and a fault in native code ends the process that it happens in.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO

from llama_conversations.log import get_logger
from llama_conversations_providers.inference.llama_cpp import serve
from llama_conversations_providers.inference.llama_cpp.serve import Launch

log = get_logger(__name__)

STOP_SECONDS = 2.0
KEPT_LOG_LINES = 20

_LOG_PREFIX = re.compile(r"^[\d.]+ [A-Z] ")


class ModelProcessFailed(Exception):
    """The process could not load the model; the message is llama.cpp's own."""


class ModelProcess:
    """One run of ``serve.py``, from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log_reader: threading.Thread | None = None
        self._log_lines: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self._stopping = False

    @property
    def exit_code(self) -> int | None:
        """Of a process that has ended, negative for a signal; ``None`` while it runs."""
        return None if self._process is None else self._process.poll()

    async def start(self, launch: Launch) -> str:
        """Load the model and serve it; returns the server's address. Raises ``ModelProcessFailed``.

        The loop runs on meanwhile. A cancelled start leaves no process behind.
        """
        process = subprocess.Popen(  # noqa: ASYNC220, S603 (takes milliseconds, must not be cancelled halfway; our own)
            [sys.executable, "-P", str(Path(serve.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._process = process
        self._log_reader = threading.Thread(target=self._read_log, args=(process.stderr,), daemon=True)
        self._log_reader.start()
        try:
            return await asyncio.to_thread(self._hand_over, process, launch)
        except BaseException:
            process.kill()  # it does not listen while it loads
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process, at once, whatever it is doing."""
        self._stopping = True
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(self._end, process)

    def _hand_over(self, process: subprocess.Popen[str], launch: Launch) -> str:
        stdin, stdout = _pipe(process.stdin), _pipe(process.stdout)
        with suppress(BrokenPipeError):  # then there is no answer either
            stdin.write(json.dumps(launch) + "\n")
            stdin.flush()
        line = stdout.readline()
        answer: dict[str, str] = json.loads(line) if line else {}
        if "address" in answer:
            return answer["address"]
        self._end(process)  # its log is complete then
        raise ModelProcessFailed(self._reason(process, answer.get("error")))

    def _reason(self, process: subprocess.Popen[str], error: str | None) -> str:
        if self._log_lines:
            return self._log_lines[0]  # the lines after it only pass it on
        return error or f"the process ended with code {process.returncode}"

    def _end(self, process: subprocess.Popen[str]) -> None:
        self._stopping = True
        with suppress(BrokenPipeError):
            _pipe(process.stdin).close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._log_reader is not None:
            self._log_reader.join()
        _pipe(process.stdout).close()
        _pipe(process.stderr).close()

    def _read_log(self, stderr: IO[str]) -> None:
        for line in stderr:
            text = _LOG_PREFIX.sub("", line.rstrip())
            self._log_lines.append(text)
            log.debug("llama.cpp: %s", text)
        if not self._stopping:
            log.error("the model process ended; its last words: %s", " / ".join(self._log_lines) or "none")


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("the process was started without pipes")
    return stream
