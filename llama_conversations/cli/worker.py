"""One of several processes that serve a port. ``stack run --workers`` starts it, with its socket's number."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from functools import partial

from llama_conversations.cli.serving import ignore_signals, serve_stack
from llama_conversations.cli.welcome import welcome_lines
from llama_conversations.cli.worker_channel import MEND, Channel, Failed, Launch, Serving
from llama_conversations.errors import StackError
from llama_conversations.log import configure_logging, get_logger
from llama_conversations.server.serve import new_event_loop
from llama_conversations.services.upkeep import Upkeep
from llama_conversations.stack import registry
from llama_conversations.stack.stack import Stack

log = get_logger(__name__)

FAILED = 1


async def work(end: socket.socket) -> int:
    """Serve until a signal comes, or the supervisor is no more; the exit code."""
    channel = await Channel.over(end)
    try:
        launch = await channel.launch()
        configure_logging(launch.loaded.config.server.log_level, f"worker {launch.number}")
        await _serve(launch, channel)
    except (asyncio.IncompleteReadError, ConnectionError):  # the supervisor is gone already
        return FAILED
    except StackError as error:
        channel.send(Failed("\n".join([str(error), *getattr(error, "__notes__", ())])))
        return FAILED
    finally:
        channel.writer.close()
    return 0


async def _serve(launch: Launch, channel: Channel) -> None:
    another_died = asyncio.Event()
    listening = asyncio.create_task(_listen_to(channel, another_died, launch.seconds_to_end))
    async with Stack(launch.loaded, registry.provider_specs()) as stack:
        mending = asyncio.create_task(_mend_after(another_died, stack))
        with socket.socket(fileno=launch.listener) as listener:
            await serve_stack(stack, partial(_tell, channel, stack), listener)
        mending.cancel()
    ignore_signals()
    listening.cancel()


async def _tell(channel: Channel, stack: Stack, port: int) -> None:
    channel.send(Serving([line async for line in welcome_lines(stack, stack.loaded.config.server.host, port)]))


async def _listen_to(channel: Channel, another_died: asyncio.Event, seconds_to_end: float) -> None:
    """Tell of workers that died, until the supervisor has ended; then end, too.

    Nobody is left to kill a process that does not come to its end, so it does that itself: the kernel's alarm works
    even where the interpreter hangs.
    """
    with contextlib.suppress(ConnectionError):  # it was killed before it had read what we told it
        async for line in channel.reader:
            if line == MEND:
                another_died.set()
    log.error("the supervisor has ended; ending, too")
    signal.setitimer(signal.ITIMER_REAL, seconds_to_end)
    signal.raise_signal(signal.SIGTERM)


async def _mend_after(another_died: asyncio.Event, stack: Stack) -> None:
    """End what another worker has left, whenever one has died."""
    upkeep = Upkeep(log, "ending what another worker has left")
    while True:
        await another_died.wait()
        another_died.clear()
        with upkeep.one_try():
            await stack.mend()


def main() -> None:
    """Run as a process; nothing is printed but the log."""
    end = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()  # until it serves (``serve_stack``): there is nothing to free
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(work(end))
    sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
