"""``stack run``: open a stack, serve it, close it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from llama_conversations.cli.welcome import show_welcome
from llama_conversations.config import InferenceRecordingConfig, LoadedConfig, config_error, parse_settings
from llama_conversations.library import asgi_app
from llama_conversations.log import configure_logging
from llama_conversations.server.serve import AT_ONCE, new_event_loop, serve
from llama_conversations.stack import registry
from llama_conversations.stack.loading import load_stack_config
from llama_conversations.stack.stack import Stack


@dataclass(frozen=True)
class Listening:
    """Where to listen instead of where the configuration says; ``None``: as it says."""

    host: str | None = None
    port: int | None = None

    def applied_to(self, loaded: LoadedConfig) -> LoadedConfig:
        """The configuration with these in it."""
        chosen = {"host": self.host, "port": self.port}
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
    configure_logging(loaded.config.server.log_level)
    stack = Stack(loaded, specs)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(stack))


async def _serve(stack: Stack) -> None:
    settings = stack.loaded.config.server
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Opening [bold]{escape(stack.loaded.config.distro_name)}[/] …")
    recording = stack.loaded.config.inference_recording
    if recording.mode != "live":
        console.print(f"Inference [bold]{recording.mode}[/]: {escape(str(recording.directory.absolute()))}")
    draining: set[asyncio.Task[None]] = set()

    def drain(signals: int) -> None:
        """At the signal, not when the server has closed: the requests that wait for turns share their time.

        A second one shortens it, also while the stack is closing.
        """
        draining.add(asyncio.create_task(stack.drain(at_once=signals >= AT_ONCE)))

    async with stack:
        await serve(
            asgi_app(stack),
            host=settings.host,
            port=settings.port,
            shutdown_timeout=settings.shutdown_timeout_seconds,
            max_message_bytes=settings.limits.max_body_bytes,
            on_started=lambda port: show_welcome(console, stack, settings.host, port),
            on_signal=drain,
            release_signals=False,
        )
    _ignore_signals()


def _ignore_signals() -> None:
    """All is closed: a signal that comes now can but spoil the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
