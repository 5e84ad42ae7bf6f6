"""Models: which there are, under which names, and whose they are."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from llama_conversations.apis.catalog import Models
from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.errors import ModelNotFound, StorageError
from llama_conversations.log import get_logger
from llama_conversations.services.model_discovery import DiscoveryTiming, ModelDiscovery
from llama_conversations.services.model_names import ModelAlias, ModelNames, NamedModel, name_models
from llama_conversations.storage.records import ResourceRecord
from llama_conversations.storage.stores import RegistryStore
from llama_conversations.wire.answers import Json
from llama_conversations.wire.catalog import Model, ModelList

__all__ = ["DiscoveryTiming", "ModelAlias", "ModelRouter", "ModelsServiceImpl", "RoutedModel"]

log = get_logger(__name__)

MODEL_KIND = "model"
"""Kind of the registry's resources that are models."""

_STORED_MODEL = TypeAdapter(ProviderModel)


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """Where a request that names ``model_id`` goes.

    Attributes:
        model_id: The name as the request has it.
        provider_model_id: The provider's own name of the model.
        context_length: Tokens that fit into its context, where the provider tells.
    """

    model_id: str
    provider_id: str
    provider_model_id: str
    inference: Inference
    context_length: int | None


class ModelRouter(Protocol):
    """Finds the provider of a model."""

    @abstractmethod
    async def route(self, model: str) -> RoutedModel:
        """Find who serves a model; at once for every known name, but for the first seconds of a server's life.

        Errors: ``ModelNotFound``.
        """
        ...


class ModelsServiceImpl(Models, ModelRouter):
    """The models that run.yaml registers by name and those that the providers list.

    What the providers list is kept in the registry, so that a provider that is down at start still has its models.

    Args:
        registry: Where the lists are kept.
        providers: Inference by provider id; a live view that is complete when ``initialize`` is called.
        aliases: Models registered by name.
    """

    def __init__(
        self,
        registry: RegistryStore,
        providers: Mapping[str, Inference],
        aliases: Sequence[ModelAlias] = (),
        timing: DiscoveryTiming | None = None,
    ) -> None:
        self._registry, self._providers, self._aliases = registry, providers, aliases
        self._discovery = ModelDiscovery(providers, self._found, timing or DiscoveryTiming())
        self._models: dict[str, Sequence[ProviderModel]] = {}
        self._stored: dict[str, Sequence[ProviderModel]] = {}
        self._publish()

    async def initialize(self) -> None:
        """Load what was known, and begin to ask the providers; whoever asks for models first waits for that."""
        self._stored = await self._load()
        self._models = dict(self._stored)
        self._publish()
        self._discovery.start()

    async def shutdown(self) -> None:
        """Stop asking the providers."""
        await self._discovery.close()

    async def route(self, model: str) -> RoutedModel:
        """See ``ModelRouter``; an unknown name makes the providers be asked again, within limits.

        Whether a name is unambiguous is known when all have been asked.
        """
        await self._discovery.first_round()
        found = self._routes.get(model)
        if found is None and model not in self._names.ambiguous:
            await self._discovery.refresh_on_demand()
            found = self._routes.get(model)
        if found is None:
            raise ModelNotFound(model, self._names.ambiguous.get(model, ()))
        return found

    async def list_models(self) -> Json[ModelList]:
        """See ``Models``; bare names where they are unambiguous, sorted."""
        await self._discovery.first_round()
        return self._listing

    async def get_model(self, model_id: str) -> Json[Model]:
        """See ``Models``. Errors: ``ModelNotFound``."""
        await self.route(model_id)
        return Json.whole(_wire_model(self._names.by_name[model_id]))

    async def names_by_provider(self) -> Mapping[str, Sequence[str]]:
        """For every provider, the names under which its models are listed."""
        await self._discovery.first_round()
        names: dict[str, list[str]] = {provider_id: [] for provider_id in self._providers}
        for named in self._names.listed:
            names[named.provider_id].append(named.name)
        return names

    async def _found(self, provider_id: str, models: Sequence[ProviderModel]) -> None:
        """Take what a provider lists, sorted and each once; store it if that is news."""
        known = sorted({model.id: model for model in models}.values(), key=lambda model: model.id)
        if known != self._models.get(provider_id):
            self._models[provider_id] = known
            self._publish()
        if known != self._stored.get(provider_id):
            await self._store(provider_id, known)

    async def _store(self, provider_id: str, models: Sequence[ProviderModel]) -> None:
        try:
            await self._registry.replace(MODEL_KIND, provider_id, [_record(provider_id, model) for model in models])
        except StorageError as error:
            log.warning("The models of provider '%s' could not be stored: %s", provider_id, error)
        else:
            self._stored[provider_id] = models

    async def _load(self) -> dict[str, Sequence[ProviderModel]]:
        """The stored models of this stack's providers: the registry may hold other stacks' as well."""
        models: dict[str, list[ProviderModel]] = defaultdict(list)
        for record in await self._registry.load(MODEL_KIND):
            if record.provider_id in self._providers:
                try:
                    models[record.provider_id].append(_STORED_MODEL.validate_json(record.data))
                except ValidationError as error:
                    log.warning("Ignoring the stored model '%s', which is not readable: %s", record.identifier, error)
        return {provider_id: sorted(found, key=lambda model: model.id) for provider_id, found in models.items()}

    def _publish(self) -> None:
        """Make names, routes and the list anew, so that serving them is a look-up."""
        aliases = [alias for alias in self._aliases if alias.provider_id in self._providers]
        self._names: ModelNames = name_models(aliases, self._models)
        self._routes: Mapping[str, RoutedModel] = {
            name: RoutedModel(
                model_id=name,
                provider_id=named.provider_id,
                provider_model_id=named.model.id,
                inference=self._providers[named.provider_id],
                context_length=named.model.context_length,
            )
            for name, named in self._names.by_name.items()
        }
        self._listing = Json.whole(ModelList(data=[_wire_model(named) for named in self._names.listed]))


def _record(provider_id: str, model: ProviderModel) -> ResourceRecord:
    return ResourceRecord(MODEL_KIND, f"{provider_id}/{model.id}", provider_id, _STORED_MODEL.dump_json(model).decode())


def _wire_model(named: NamedModel) -> Model:
    model = named.model
    told = {} if model.context_length is None else {"context_length": model.context_length}
    return Model(
        id=named.name,
        created=model.created or 0,
        owned_by=model.owned_by or named.provider_id,
        provider_id=named.provider_id,
        provider_model_id=model.id,
        metadata={**told, **named.metadata},
    )
