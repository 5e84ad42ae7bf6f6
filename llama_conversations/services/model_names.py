"""Which names a request may use for a model, and whose model each of them means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llama_conversations.apis.inference import ProviderModel
from llama_conversations.wire.base import JsonValue


@dataclass(frozen=True, slots=True)
class ModelAlias:
    """A name registered in run.yaml for a provider's model; the provider need not list that model."""

    model_id: str
    provider_id: str
    provider_model_id: str
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A name, and the provider's model that it means; ``metadata`` is what run.yaml says of it."""

    name: str
    provider_id: str
    model: ProviderModel
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelNames:
    """All names at one time.

    Attributes:
        by_name: Every usable name: aliases, ``provider_id/model``, and bare names that one provider alone has.
        ambiguous: Bare names that several providers have, each with the names to use instead.
        listed: Every alias, and every provider's model once under its shortest usable name; sorted by name.
    """

    by_name: Mapping[str, NamedModel]
    ambiguous: Mapping[str, Sequence[str]]
    listed: Sequence[NamedModel]


def name_models(aliases: Sequence[ModelAlias], models: Mapping[str, Sequence[ProviderModel]]) -> ModelNames:
    """Work out the names for the models that each provider lists.

    An alias wins over everything, ``provider_id/model`` over a bare name that happens to look like it.
    """
    by_name: dict[str, NamedModel] = {}
    ambiguous: dict[str, Sequence[str]] = {}
    for bare, owners in _owners(models).items():
        if len(owners) == 1:
            by_name[bare] = NamedModel(bare, *owners[0])
        else:
            ambiguous[bare] = sorted(_qualified(*owner) for owner in owners)
    for provider_id, model in _pairs(models):
        name = _qualified(provider_id, model)
        by_name[name] = NamedModel(name, provider_id, model)
    for alias in aliases:
        by_name[alias.model_id] = NamedModel(alias.model_id, alias.provider_id, _target(alias, models), alias.metadata)
    unresolved = {bare: names for bare, names in ambiguous.items() if bare not in by_name}
    return ModelNames(by_name, unresolved, _listing(aliases, models, by_name))


def _pairs(models: Mapping[str, Sequence[ProviderModel]]) -> Iterator[tuple[str, ProviderModel]]:
    for provider_id, provided in models.items():
        for model in provided:
            yield provider_id, model


def _owners(models: Mapping[str, Sequence[ProviderModel]]) -> dict[str, list[tuple[str, ProviderModel]]]:
    owners: dict[str, list[tuple[str, ProviderModel]]] = defaultdict(list)
    for provider_id, model in _pairs(models):
        owners[model.id].append((provider_id, model))
    return owners


def _qualified(provider_id: str, model: ProviderModel) -> str:
    return f"{provider_id}/{model.id}"


def _target(alias: ModelAlias, models: Mapping[str, Sequence[ProviderModel]]) -> ProviderModel:
    """What the provider tells of the alias's model; its bare id where the provider does not list it."""
    listed = (model for model in models.get(alias.provider_id, ()) if model.id == alias.provider_model_id)
    return next(listed, ProviderModel(alias.provider_model_id))


def _listing(
    aliases: Sequence[ModelAlias], models: Mapping[str, Sequence[ProviderModel]], by_name: Mapping[str, NamedModel]
) -> Sequence[NamedModel]:
    shown = {alias.model_id: by_name[alias.model_id] for alias in aliases}
    for provider_id, model in _pairs(models):
        for name in (model.id, _qualified(provider_id, model)):
            found = by_name.get(name)
            if found is not None and (found.provider_id, found.model) == (provider_id, model):
                shown[name] = found
                break
    return [shown[name] for name in sorted(shown)]
