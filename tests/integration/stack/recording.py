"""Providers that write down what happens to them, and fail or wait when they are told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.config import load_run_config
from llama_conversations.errors import UpstreamUnreachable
from llama_conversations.stack.provider_spec import ProviderConfig, ProviderContext, ProviderSpec
from llama_conversations.stack.stack import Stack
from llama_conversations.wire.catalog import Health


@dataclass
class Journal:
    """What happened, in order, and the contexts that the factory was given."""

    entries: list[str] = field(default_factory=list)
    contexts: list[ProviderContext] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)


JOURNAL = Journal()
"""The journal of the test that runs; ``fresh_journal`` begins a new one."""


def fresh_journal() -> Journal:
    """Begin a new journal."""
    globals()["JOURNAL"] = Journal()
    return JOURNAL


class RecordingConfig(ProviderConfig):
    """How it behaves."""

    fails_to_open: bool = False
    fails_to_close: bool = False
    never_closes: bool = False
    waits_with_answer: bool = False
    lists_no_models: bool = False


class RecordingInference(Inference):
    def __init__(self, context: ProviderContext) -> None:
        assert isinstance(context.config, RecordingConfig)
        self._name, self._config = context.provider_id, context.config
        self._journal = JOURNAL
        self._journal.contexts.append(context)

    async def initialize(self) -> None:
        if self._config.fails_to_open:
            raise OSError(f"{self._name} is out of order")
        self._journal.entries.append(f"open {self._name}")

    async def shutdown(self) -> None:
        self._journal.entries.append(f"close {self._name}")
        if self._config.fails_to_close:
            raise OSError("it is stuck")
        if self._config.never_closes:
            await asyncio.Event().wait()

    async def health(self) -> Health:
        return Health(status="ok")

    async def list_models(self) -> Sequence[ProviderModel]:
        if self._config.lists_no_models:
            raise UpstreamUnreachable(self._name, "no connection could be made")
        return [ProviderModel(f"{self._name}-model")]

    async def chat_completion(self, body: bytes) -> bytes:
        self._journal.entries.append(f"called {self._name}")
        self._journal.called.set()
        if self._config.waits_with_answer:
            await self._journal.answer.wait()
        choice = {"index": 0, "message": {"role": "assistant", "content": "at last"}, "finish_reason": "stop"}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        self._journal.entries.append(f"answered by {self._name}")
        return json.dumps(answer).encode()

    async def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError
        yield b""


class NoInference:
    """Lacks nearly everything."""

    async def initialize(self) -> None: ...


def make(context: ProviderContext) -> RecordingInference:
    return RecordingInference(context)


def make_nothing_of_use(context: ProviderContext) -> NoInference:
    return NoInference()


def spec(name: str, factory: str = "integration.stack.recording:make", needs: tuple[str, ...] = ()) -> ProviderSpec:
    return ProviderSpec("inference", f"inline::{name}", RecordingConfig, factory, "A test's", api_dependencies=needs)


def recording_stack(
    directory: Path, *specs: ProviderSpec, shutdown_seconds: float = 10, **providers: dict[str, object]
) -> Stack:
    """A stack with its database in ``directory`` and a provider for each name, with these settings.

    Their type is ``inline::recording``, or that of the first spec that is given.
    """
    known = {(kind.api, kind.provider_type): kind for kind in specs or (spec("recording"),)}
    provider_type = next(iter(known))[1]
    entries = [{"provider_id": name, "provider_type": provider_type, "config": c} for name, c in providers.items()]
    config: dict[str, object] = {
        "providers": {"inference": entries},
        "storage": {"backends": {"default": {"type": "sql_sqlite", "path": str(directory / "state.db")}}},
        "server": {"shutdown_timeout_seconds": shutdown_seconds},
    }
    return Stack(load_run_config(config, {}), known)
