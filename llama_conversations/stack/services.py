"""The server's own implementations of the APIs, wired to the stores and to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from llama_conversations.apis.catalog import Models
from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.apis.inference import Inference
from llama_conversations.apis.responses import Responses
from llama_conversations.apis.tools import ToolRuntime
from llama_conversations.apis.web_search import WebSearch
from llama_conversations.config.run_config import StackRunConfig
from llama_conversations.services.chat import ChatCompletionsServiceImpl
from llama_conversations.services.conversations import ConversationServiceImpl
from llama_conversations.services.inspect import InspectServiceImpl, ServedApi
from llama_conversations.services.models import DiscoveryTiming, ModelAlias, ModelsServiceImpl
from llama_conversations.services.prompts import PromptsServiceImpl
from llama_conversations.services.providers import ProviderEntry, ProvidersServiceImpl
from llama_conversations.services.readiness import Readiness
from llama_conversations.services.references import ItemFinder
from llama_conversations.services.responses.service import ResponsesServiceImpl, TurnSettings, TurnStores
from llama_conversations.services.retention import RetentionSettings
from llama_conversations.services.tools import ToolGroup, ToolServers
from llama_conversations.stack.known_apis import SERVICE_APIS
from llama_conversations.storage.open import Storage

ANSWERED_BY_MODELS = (Models, ChatCompletions, Responses)
"""APIs whose answers come from the inference providers."""

DRAIN_SHARE = 0.8
"""How much of its time to shut down the Responses service waits for its turns; the rest is for failing what is left."""


@dataclass(frozen=True)
class Services:
    """One implementation for every API of ``SERVICE_APIS``, each under the name that it has there."""

    conversations: ConversationServiceImpl
    responses: ResponsesServiceImpl
    chat_completions: ChatCompletionsServiceImpl
    models: ModelsServiceImpl
    prompts: PromptsServiceImpl
    providers: ProvidersServiceImpl
    inspect: InspectServiceImpl

    def by_name(self) -> Mapping[str, object]:
        """Each implementation by the name of its API."""
        return {name: getattr(self, name) for name in SERVICE_APIS}


@dataclass(frozen=True)
class Implementations:
    """The providers of each API by their ids, in the order of run.yaml; live views, complete once the stack is open."""

    inference: Mapping[str, Inference]
    tool_runtimes: Mapping[str, ToolRuntime]
    searches: Mapping[str, WebSearch]


def build_services(
    config: StackRunConfig,
    storage: Storage,
    implementations: Implementations,
    providers: Sequence[ProviderEntry],
    inference_types: Sequence[str],
) -> Services:
    """Make the services; nothing is started.

    Args:
        providers: All providers; a live view, complete once the stack is open.
        inference_types: The types of the inference providers.
    """
    models = ModelsServiceImpl(
        storage.registry,
        implementations.inference,
        _aliases(config),
        DiscoveryTiming(refresh=config.model_refresh_seconds),
    )
    responses = ResponsesServiceImpl(
        TurnStores(
            storage.conversations, storage.responses, storage.jobs, storage.prompts, storage.secrets, storage.news
        ),
        models,
        ToolServers(implementations.tool_runtimes, _tool_groups(config), implementations.searches),
        _turn_settings(config),
    )
    readiness = Readiness(storage.health, lambda: responses.is_draining)
    return Services(
        conversations=ConversationServiceImpl(
            storage.conversations, ItemFinder(storage.conversations, storage.responses)
        ),
        responses=responses,
        chat_completions=ChatCompletionsServiceImpl(models),
        models=models,
        prompts=PromptsServiceImpl(storage.prompts),
        providers=ProvidersServiceImpl(providers),
        inspect=InspectServiceImpl(_served(inference_types), readiness, version("llama-conversations")),
    )


def _aliases(config: StackRunConfig) -> Sequence[ModelAlias]:
    return [
        ModelAlias(model.model_id, model.provider_id, model.provider_model_id or model.model_id, model.metadata)
        for model in config.registered_resources.models
    ]


def _tool_groups(config: StackRunConfig) -> Mapping[str, ToolGroup]:
    return {
        group.tool_group_id: ToolGroup(group.provider_id, group.arguments)
        for group in config.registered_resources.tool_groups
    }


def _turn_settings(config: StackRunConfig) -> TurnSettings:
    return TurnSettings(
        lease_seconds=config.turns.lease_seconds,
        sweep_seconds=config.turns.sweep_seconds,
        drain_seconds=config.server.shutdown_timeout_seconds * DRAIN_SHARE,
        max_turns=config.server.limits.max_concurrent_turns,
        max_background=config.server.limits.max_background_turns,
        max_queued=config.server.limits.max_queued_turns,
    )


def retention_settings(config: StackRunConfig) -> RetentionSettings:
    """How long things are kept."""
    kept = config.retention
    return RetentionSettings(kept.responses, kept.conversations, kept.every_seconds)


def _served(inference_types: Sequence[str]) -> Sequence[ServedApi]:
    return [
        ServedApi(protocol, tuple(inference_types) if protocol in ANSWERED_BY_MODELS else ())
        for protocol in SERVICE_APIS.values()
    ]
