"""The stack: everything that serves, from one configuration, opened and closed as one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self, TypeVar, cast

from typing_extensions import TypeForm

from llama_conversations.apis.conversations import Conversations
from llama_conversations.apis.inference import Inference
from llama_conversations.apis.prompts import Prompts
from llama_conversations.apis.tools import ToolRuntime
from llama_conversations.apis.web_search import WebSearch
from llama_conversations.config.loader import LoadedConfig
from llama_conversations.config.masking import mask_secrets
from llama_conversations.log import get_logger
from llama_conversations.services.idempotency import IdempotencyKeys
from llama_conversations.services.providers import ProviderEntry
from llama_conversations.services.retention import RetentionKeeper
from llama_conversations.stack.closing import ClosingStack
from llama_conversations.stack.factories import make_provider
from llama_conversations.stack.known_apis import INFERENCE, SERVICE_APIS
from llama_conversations.stack.loading import ConfigSource, load_stack_config
from llama_conversations.stack.provider_spec import Provider, ProviderContext
from llama_conversations.stack.registry import ProviderSpecs, provider_specs
from llama_conversations.stack.resolver import ResolvedProvider, resolve
from llama_conversations.stack.services import Implementations, Services, build_services, retention_settings
from llama_conversations.storage.open import Storage, open_storage
from llama_conversations.wire.base import JsonValue

log = get_logger(__name__)

T = TypeVar("T")


class Stack:
    """Storage, services and providers of one run.yaml.

        async with Stack.from_config("starter") as stack:
            conversations = stack.get(Conversations)

    Args:
        loaded: The configuration.
        specs: The providers to choose from; the installed ones unless given.

    Errors: ``ConfigError`` when the configuration and the providers do not fit.
    """

    def __init__(self, loaded: LoadedConfig, specs: ProviderSpecs | None = None) -> None:
        self.loaded = loaded
        self._resolved = resolve(loaded, provider_specs() if specs is None else specs)
        self._opened = ClosingStack(loaded.config.server.shutdown_timeout_seconds)
        self._inference: dict[str, Inference] = {}
        self._tool_runtimes: dict[str, ToolRuntime] = {}
        self._searches: dict[str, WebSearch] = {}
        self._providers: list[ProviderEntry] = []
        self._storage: Storage | None = None
        self._services: Services | None = None
        self._keys: dict[type, IdempotencyKeys] = {}

    @classmethod
    def from_config(cls, source: ConfigSource, environ: Mapping[str, str] | None = None) -> Self:
        """A stack from a run.yaml's path, a distribution's name, ``inference=ollama``, or the configuration itself.

        Errors: ``ConfigError`` with everything that is wrong.
        """
        specs = provider_specs()
        return cls(load_stack_config(source, os.environ if environ is None else environ, specs), specs)

    async def initialize(self) -> None:
        """Open everything, on the running event loop.

        What was opened is closed again, in reverse, if something fails; the error is the one that it failed with.
        """
        if self._services is not None:
            raise RuntimeError("A stack opens once: make another one.")
        try:
            await self._open()
        except BaseException:
            await self.shutdown()
            raise

    async def mend(self) -> None:
        """End now what another process of the same database has left: for whoever knows that it has died."""
        await self._opened_services().responses.mend()

    async def drain(self, *, at_once: bool = False) -> None:
        """Take no new turns, and let those that run end: within their share of the time to shut down, or ``at_once``.

        For whoever still serves requests that wait for them. Nothing is closed.
        """
        await self._opened_services().responses.drain(at_once=at_once)

    async def shutdown(self) -> None:
        """Close everything in reverse: first the turns that run, at last storage. Failures are logged, none is raised.

        Each gets ``server.shutdown_timeout_seconds``. May be called again, and without ``initialize``.
        """
        await self._opened.close()

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    def get(self, api: TypeForm[T]) -> T:
        """The implementation of an API, by its protocol: ``stack.get(Conversations)``.

        Errors: ``LookupError`` when the stack is not open, or the API is not one that the server implements.
        """
        for name, protocol in SERVICE_APIS.items():
            if protocol is api:
                return cast("T", self._opened_services().by_name()[name])
        raise LookupError(f"{api} is not an API of this stack")

    def bindings(self) -> Sequence[tuple[type, object]]:
        """Every served API's protocol with its implementation: what an ASGI app is built from."""
        implementations = self._opened_services().by_name()
        return [(protocol, implementations[name]) for name, protocol in SERVICE_APIS.items()]

    def idempotency_keys(self) -> Mapping[type, IdempotencyKeys]:
        """By protocol, the idempotency keys of its requests: they lie where the requests have their effect."""
        if not self._keys:
            raise LookupError("The stack is not open.")
        return {protocol: self._keys.get(protocol, self._keys[Conversations]) for protocol in SERVICE_APIS.values()}

    @property
    def location(self) -> str:
        """Where the state lies, for people."""
        if self._storage is None:
            raise LookupError("The stack is not open.")
        return self._storage.location

    @property
    def providers(self) -> Sequence[ProviderEntry]:
        """The providers that are open, in the order in which they were opened."""
        return tuple(self._providers)

    async def model_names(self) -> Mapping[str, Sequence[str]]:
        """For every inference provider, the names under which its models are served, once each was asked for them."""
        return await self._opened_services().models.names_by_provider()

    def _opened_services(self) -> Services:
        if self._services is None:
            raise LookupError("The stack is not open.")
        return self._services

    async def _open(self) -> None:
        config = self.loaded.config
        storing = open_storage(config.storage, config.turns.lease_seconds)
        self._storage = await storing.__aenter__()
        self._opened.push("storage", lambda: _leave(storing))
        await self._open_keys(self._storage)
        types = sorted({provider.spec.provider_type for provider in self._resolved if provider.api == INFERENCE})
        implementations = Implementations(self._inference, self._tool_runtimes, self._searches)
        services = self._services = build_services(config, self._storage, implementations, self._providers, types)
        available: dict[str, object] = dict(services.by_name())
        for resolved in self._resolved:
            available[resolved.api] = await self._open_provider(resolved, available)
        await services.models.initialize()
        self._opened.push("models", services.models.shutdown)
        await services.responses.initialize()
        self._opened.push("responses", services.responses.shutdown)
        retention = RetentionKeeper(self._storage.retention, retention_settings(config))
        await retention.initialize()
        self._opened.push("retention", retention.shutdown)

    async def _open_keys(self, storage: Storage) -> None:
        self._keys[Conversations] = IdempotencyKeys(storage.keys)
        if storage.prompt_keys is not storage.keys:
            self._keys[Prompts] = IdempotencyKeys(storage.prompt_keys)
        for protocol, keys in self._keys.items():
            await keys.initialize()
            self._opened.push(f"idempotency keys of {protocol.__name__}", keys.shutdown)

    async def _open_provider(self, resolved: ResolvedProvider, available: Mapping[str, object]) -> Provider:
        dependencies = {api: available[api] for api in resolved.spec.api_dependencies}
        context = ProviderContext(resolved.provider_id, resolved.config, dependencies)
        provider = self._recorded(make_provider(resolved, context, self.loaded.source), resolved.provider_id)
        try:
            await provider.initialize()
        except Exception as error:
            error.add_note(f"while provider '{resolved.provider_id}' ({resolved.spec.provider_type}) was opened")
            raise
        self._opened.push(f"provider '{resolved.provider_id}'", provider.shutdown)
        if isinstance(provider, Inference):
            self._inference[resolved.provider_id] = provider
        if isinstance(provider, ToolRuntime):
            self._tool_runtimes[resolved.provider_id] = provider
        if isinstance(provider, WebSearch):
            self._searches[resolved.provider_id] = provider
        self._providers.append(_entry(resolved, provider))
        log.info("Provider '%s' (%s) is open", resolved.provider_id, resolved.spec.provider_type)
        return provider

    def _recorded(self, provider: Provider, provider_id: str) -> Provider:
        settings = self.loaded.config.inference_recording
        if settings.mode == "live":
            return provider
        from llama_conversations.stack.recording.inference import recorded  # only tests record and replay

        return recorded(provider, provider_id, settings, self.loaded.source)


def _entry(resolved: ResolvedProvider, provider: Provider) -> ProviderEntry:
    return ProviderEntry(
        api=resolved.api,
        provider_id=resolved.provider_id,
        provider_type=resolved.spec.provider_type,
        config=cast("dict[str, JsonValue]", mask_secrets(resolved.config)),
        implementation=provider,
    )


async def _leave(context: AbstractAsyncContextManager[object]) -> None:
    await context.__aexit__(None, None, None)
