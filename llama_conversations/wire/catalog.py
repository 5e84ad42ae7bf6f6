"""What the server says about itself: models, providers, routes, health, version."""

from __future__ import annotations

from typing import Literal

from llama_conversations.wire.base import JsonValue, WireModel


class Model(WireModel):
    """A model that may be named in a request; ``provider_id`` and below are additions to the OpenAI shape."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    provider_id: str
    provider_model_id: str
    metadata: dict[str, JsonValue]


class ModelList(WireModel):
    """All models, by id."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(WireModel):
    """``status`` is ``ok``, ``error`` or ``not_implemented``; ``message`` says why it is not ``ok``."""

    status: Literal["ok", "error", "not_implemented"]
    message: str | None = None


class Provider(WireModel):
    """A provider that is part of this stack, its secrets masked."""

    api: str
    provider_id: str
    provider_type: str
    config: dict[str, JsonValue]
    health: Health


class ProviderList(WireModel):
    """All providers."""

    object: Literal["list"] = "list"
    data: list[Provider]


class Route(WireModel):
    """A route that is served; ``provider_types`` are those of the API's implementations."""

    route: str
    method: str
    provider_types: list[str]


class RouteList(WireModel):
    """All routes."""

    object: Literal["list"] = "list"
    data: list[Route]


class ServerHealth(WireModel):
    """The server is up and its database answers."""

    status: Literal["ok"] = "ok"


class Version(WireModel):
    """The version of this software."""

    version: str
