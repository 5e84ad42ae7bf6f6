"""``stack run``: open a stack, serve it, close it."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from llama_conversations.cli.welcome import show, welcome_lines
from llama_conversations.config import Finding, InferenceRecordingConfig, LoadedConfig, config_error, parse_settings
from llama_conversations.config.run_config import recording_by_many
from llama_conversations.errors import StackError
from llama_conversations.library import asgi_app
from llama_conversations.log import configure_logging
from llama_conversations.server.serve import AT_ONCE, listen, new_event_loop, serve
from llama_conversations.stack import registry
from llama_conversations.stack.loading import load_stack_config
from llama_conversations.stack.registry import ProviderSpecs
from llama_conversations.stack.resolver import resolve
from llama_conversations.stack.sharing import shared_parts
from llama_conversations.stack.stack import Stack


@dataclass(frozen=True)
class Listening:
    """Where to listen, and how many processes do, instead of what the configuration says; ``None``: as it says."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None

    def applied_to(self, loaded: LoadedConfig) -> LoadedConfig:
        """The configuration with these in it."""
        chosen = {"host": self.host, "port": self.port, "workers": self.workers}
        update = {key: value for key, value in chosen.items() if value is not None}
        server = loaded.config.server.model_copy(update=update)
        return replace(loaded, config=loaded.config.model_copy(update={"server": server}))


@dataclass(frozen=True)
class Recording:
    """Whether and where inference is recorded, instead of what the configuration says; ``None``: as it says."""

    mode: str | None = None
    directory: Path | None = None

    def applied_to(self, loaded: LoadedConfig) -> LoadedConfig:
        """The configuration with these in it. Errors: ``ConfigError`` for a mode that there is not."""
        chosen = {"mode": self.mode, "directory": self.directory}
        update = {key: value for key, value in chosen.items() if value is not None}
        tree = {**dict(loaded.config.inference_recording), **update}
        settings, findings = parse_settings(InferenceRecordingConfig, tree, ("inference_recording",))
        if settings is None:
            raise config_error("command line", findings)
        return replace(loaded, config=loaded.config.model_copy(update={"inference_recording": settings}))


def run_stack(
    source: str, environ: Mapping[str, str], providers: str | None, listening: Listening, recording: Recording
) -> None:
    """Serve until a signal comes. Errors: ``StackError`` of whatever kind keeps it from starting."""
    specs = registry.provider_specs()
    loaded = recording.applied_to(listening.applied_to(load_stack_config(source, environ, specs, providers)))
    config = loaded.config
    if problem := recording_by_many(config.inference_recording, config.server):
        raise config_error("command line", [Finding(("server", "workers"), problem)])
    configure_logging(config.server.log_level, "supervisor" if config.server.workers > 1 else None)
    show(f"Opening {typer.style(config.distro_name, bold=True)} …")
    if config.inference_recording.mode != "live":
        directory = config.inference_recording.directory.absolute()
        show(f"Inference {typer.style(config.inference_recording.mode, bold=True)}: {directory}")
    if config.server.workers == 1:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve_alone(Stack(loaded, specs)))
    elif not asyncio.run(_serve_together(loaded, specs)):
        raise WorkersEndedBadly


class WorkersEndedBadly(StackError):
    """At the end, a worker had to be killed, or ended with an error."""

    def __init__(self) -> None:
        super().__init__("Not every worker has ended as it should; the log says which.")


async def _serve_alone(stack: Stack) -> None:
    async def welcome(port: int) -> None:
        async for line in welcome_lines(stack, stack.loaded.config.server.host, port):
            show(line)

    async with stack:
        await serve_stack(stack, welcome)
    ignore_signals()


async def _serve_together(loaded: LoadedConfig, specs: ProviderSpecs) -> bool:
    from llama_conversations.cli.supervisor import Supervisor

    gc.enable()
    resolve(loaded, specs)  # what is wrong is said before anything is opened
    with listen(loaded.config.server.host, loaded.config.server.port) as listener:
        async with shared_parts(loaded, specs) as shared:
            return await Supervisor(shared, listener, lambda lines: show(*lines)).run()


async def serve_stack(
    stack: Stack, on_started: Callable[[int], Coroutine[None, None, None]], listener: socket.socket | None = None
) -> None:
    """Serve an open stack until a signal comes, and drain it then. Once it serves, garbage is collected.

    Args:
        on_started: Run with the port, beside the requests, once these are being served.
        listener: What listens already, where several processes share it.
    """
    settings = stack.loaded.config.server
    draining: set[asyncio.Task[None]] = set()
    telling: set[asyncio.Task[None]] = set()

    def started(port: int) -> None:
        gc.enable()
        telling.add(asyncio.create_task(on_started(port)))

    def drain(signals: int) -> None:
        """At the signal, not when the server has closed: the requests that wait for turns share their time.

        A second one shortens it, also while the stack is closing.
        """
        draining.add(asyncio.create_task(stack.drain(at_once=signals >= AT_ONCE)))

    await serve(
        asgi_app(stack),
        host=settings.host,
        port=settings.port,
        shutdown_timeout=settings.shutdown_timeout_seconds,
        listener=listener,
        max_message_bytes=settings.limits.max_body_bytes,
        on_started=started,
        on_signal=drain,
        release_signals=False,
    )
    for task in telling:
        task.cancel()


def ignore_signals() -> None:
    """All is closed: a signal that comes now can but spoil the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
