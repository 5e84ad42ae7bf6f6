"""Several processes that serve one port: started, watched, replaced when they die, and ended together.

The supervisor itself serves nothing. It listens, and every worker accepts from the same socket, so a connection that
waits is taken by whichever is free, and none is lost when a worker dies. Workers are new processes, not forks, in
sessions of their own: Ctrl-C reaches the supervisor alone, which passes it on once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from llama_conversations.cli.worker_channel import MEND, Channel, Failed, Launch
from llama_conversations.config.loader import LoadedConfig
from llama_conversations.errors import StackError
from llama_conversations.log import get_logger

log = get_logger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
"""Seconds until a worker that died is replaced: twice as many each time it dies early."""

STEADY_SECONDS = 30.0
"""A worker that has run for so long and dies is replaced as if it were the first time."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class WorkerFailed(StackError):
    """A worker could not begin to serve; nothing is served."""


@dataclass(frozen=True)
class _Worker:
    number: int
    process: asyncio.subprocess.Process
    channel: Channel
    launch: Launch


class Supervisor:
    """Runs the workers of one server.

    Args:
        loaded: The configuration for the workers; ``server.workers`` is their number.
        listener: The socket that they share. It is closed here at the first signal.
        on_serving: Called once, when all workers serve, with what the first one has to say.
    """

    def __init__(
        self, loaded: LoadedConfig, listener: socket.socket, on_serving: Callable[[Sequence[str]], None]
    ) -> None:
        self._loaded, self._listener, self._on_serving = loaded, listener, on_serving
        self._shared_fd = listener.fileno()
        self._settings = loaded.config.server
        self._workers: dict[int, _Worker] = {}
        self._lines: dict[int, Sequence[str]] = {}
        self._stopping = asyncio.Event()
        self._signals = 0
        self._failure: str | None = None
        self._all_ended_well = True

    async def run(self) -> bool:
        """Serve until a signal comes and all workers have ended; whether each ended well.

        Errors: ``WorkerFailed`` when one cannot begin, at the start.
        """
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            await asyncio.gather(*(self._keep(number) for number in range(1, self._settings.workers + 1)))
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            self._listener.close()
        if self._failure is not None:
            raise WorkerFailed(self._failure)
        return self._all_ended_well

    def _signalled(self, number: signal.Signals) -> None:
        self._signals += 1
        log.info("%s: ending %d workers", number.name, len(self._workers))
        self._stop(number)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping.set()
        self._listener.close()
        for worker in self._workers.values():
            _send_signal(worker.process, number)

    async def _keep(self, number: int) -> None:
        """Have a worker of this number until the end."""
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            ending = await self._run_one(number)
            if self._stopping.is_set():
                return
            if asyncio.get_running_loop().time() - began > STEADY_SECONDS:
                delay = FIRST_DELAY
            log.error("worker %d %s; another one is started in %g s", number, ending, delay)
            self._let_others_mend()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def _run_one(self, number: int) -> str:
        """Start a worker and wait for its end; how it ended."""
        try:
            async with self._started(number) as worker:
                return _ending(await self._watch(worker))
        except OSError as error:  # no process, or no socket, was to be had
            self._did_not_begin(number, f"Worker {number} cannot be started: {error}.")
            return "was not started"

    @asynccontextmanager
    async def _started(self, number: int) -> AsyncIterator[_Worker]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                process = await self._new_process(theirs)
            except BaseException:
                ours.close()
                raise
        launch = Launch(self._loaded, self._shared_fd, number)
        worker = self._workers[number] = _Worker(number, process, await Channel.over(ours), launch)
        try:
            with contextlib.suppress(OSError):  # it has ended already, which its exit code tells
                await worker.channel.send_launch(launch)
            yield worker
        finally:
            del self._workers[number]
            worker.channel.writer.close()

    async def _new_process(self, end: socket.socket) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "llama_conversations.cli.worker", str(end.fileno())),
            pass_fds=(end.fileno(), self._shared_fd),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    async def _watch(self, worker: _Worker) -> int:
        """Wait for a worker's end; its exit code."""
        if self._stopping.is_set():  # the signal came while it was started, and did not reach it
            _send_signal(worker.process, signal.SIGTERM)
        told = await worker.channel.told()
        if told is None or isinstance(told, Failed):
            code = await worker.process.wait()
            self._did_not_begin(worker.number, told.error if told else f"Worker {worker.number} {_ending(code)}.")
            return code
        self._serves(worker.number, told.lines)
        code = await self._end_of(worker)
        self._all_ended_well &= code == 0 or not self._stopping.is_set()
        return code

    def _serves(self, number: int, lines: Sequence[str]) -> None:
        began = len(self._lines) < self._settings.workers
        self._lines[number] = lines
        if not began:
            log.info("worker %d serves again", number)
        elif len(self._lines) == self._settings.workers:
            self._on_serving(self._lines[1])

    def _did_not_begin(self, number: int, error: str) -> None:
        """At the start that is the end; later it is tried again."""
        if self._stopping.is_set():
            return
        if len(self._lines) == self._settings.workers:
            log.error("worker %d cannot begin: %s", number, error)
        else:
            self._failure = error
            self._stop(signal.SIGTERM)

    async def _end_of(self, worker: _Worker) -> int:
        """Wait for a worker's end, after the signal no longer than it may take; its exit code."""
        ended = asyncio.create_task(worker.process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            seconds = worker.launch.seconds_to_end
            await asyncio.wait((ended,), timeout=seconds)
        if not ended.done():
            log.error("worker %d did not end within %g seconds; it is killed", worker.number, seconds)
            _send_signal(worker.process, signal.SIGKILL)
        stopping.cancel()
        return await ended

    def _let_others_mend(self) -> None:
        """The dead one's turns are failed, and its conversations free, at once and not at the next sweep."""
        for worker in self._workers.values():
            worker.channel.writer.write(MEND)


def _send_signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _ending(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
