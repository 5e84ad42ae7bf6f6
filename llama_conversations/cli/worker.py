"""One of several processes that serve a port. ``stack run --workers`` starts it, with its socket's number."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

from llama_conversations.cli.serving import ignore_signals, serve_stack
from llama_conversations.cli.welcome import welcome_lines
from llama_conversations.cli.worker_channel import MEND, Channel, Failed, Launch, Serving
from llama_conversations.errors import StackError
from llama_conversations.log import configure_logging, get_logger
from llama_conversations.server.serve import new_event_loop
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
    except asyncio.IncompleteReadError:  # the supervisor is gone already
        return FAILED
    except StackError as error:
        channel.send(Failed("\n".join([str(error), *getattr(error, "__notes__", ())])))
        return FAILED
    finally:
        channel.writer.close()
    return 0


async def _serve(launch: Launch, channel: Channel) -> None:
    host = launch.loaded.config.server.host
    async with Stack(launch.loaded, registry.provider_specs()) as stack:
        obeying = asyncio.create_task(_obey(channel, stack))
        with socket.socket(fileno=launch.listener) as listener:
            await serve_stack(
                stack, lambda port: channel.send(Serving(list(welcome_lines(stack, host, port)))), listener
            )
        obeying.cancel()
    ignore_signals()


async def _obey(channel: Channel, stack: Stack) -> None:
    """Do what the supervisor says, and end when it does."""
    async for line in channel.reader:
        if line == MEND:
            try:
                await stack.mend()
            except StackError as error:
                log.warning("ending what another worker has left failed, and is tried again: %s", error)
    log.error("the supervisor has ended; ending, too")
    signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """Run as a process; nothing is printed but the log."""
    end = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(work(end))
    sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
