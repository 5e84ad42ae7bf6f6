"""How a provider describes itself; all that a provider package needs of the framework besides ``apis`` and ``wire``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llama_conversations.config.settings import SettingsModel
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.catalog import Health

PROVIDER_TYPE = re.compile(r"^(inline|remote)::[a-z0-9][a-z0-9_-]*$")


class ProviderConfig(SettingsModel):
    """Base of a provider's settings."""

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        """The settings as they would stand in a run.yaml, with ``${env.NAME:=default}`` where that helps."""
        return {}


@runtime_checkable
class Provider(Protocol):
    """What every implementation has, whatever its API."""

    async def initialize(self) -> None:
        """Open connections, start processes."""
        ...

    async def shutdown(self) -> None:
        """Close them; called once, bounded by the server's shutdown time-out."""
        ...

    async def health(self) -> Health:
        """Whether it works now; never raises."""
        ...


@dataclass(frozen=True)
class ProviderContext:
    """What a factory is given.

    Attributes:
        provider_id: The name of this provider in run.yaml.
        config: Its settings, an instance of the spec's ``config_class``.
        dependencies: For every API of the spec's ``api_dependencies``, its implementation.
    """

    provider_id: str
    config: ProviderConfig
    dependencies: Mapping[str, object]


ProviderFactory = Callable[[ProviderContext], Provider]


class SharedPart(Protocol):
    """What the workers of one server share, such as a model in memory; the process that supervises them has it."""

    async def initialize(self) -> None:
        """Open it."""
        ...

    async def shutdown(self) -> None:
        """Close it; called once all workers have ended, and also when ``initialize`` has failed."""
        ...

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        """Once it is open: settings by which a worker's provider finds it; they go over those of run.yaml."""
        ...


SharedFactory = Callable[[ProviderContext], SharedPart]


@dataclass(frozen=True)
class ProviderSpec:
    """A kind of provider.

    A package offers its specs by an entry point of group ``llama_conversations.providers`` that names a function
    without arguments which returns a list of them.

    Attributes:
        api: The API that it implements, such as ``inference``.
        provider_type: ``inline::name`` (runs in this process) or ``remote::name`` (talks to another).
        config_class: Its settings.
        factory: ``package.module:function``, a ``ProviderFactory``; imported only when a stack uses the provider.
        description: One line for ``stack list providers``.
        pip_packages: What must be installed for it beside this package, as pip would name it.
        api_dependencies: APIs whose implementations it needs; they are opened before it.
        shared: ``package.module:function``, a ``SharedFactory``, called where several workers serve; without one, each
            worker's provider has everything of its own.
    """

    api: str
    provider_type: str
    config_class: type[ProviderConfig]
    factory: str
    description: str
    pip_packages: tuple[str, ...] = ()
    api_dependencies: tuple[str, ...] = ()
    shared: str | None = None

    def __post_init__(self) -> None:
        if not PROVIDER_TYPE.match(self.provider_type):
            raise ValueError(f"provider_type '{self.provider_type}' is not of the form inline::name or remote::name")
