"""Which providers are installed: found through entry points, the built-in ones and third parties' alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from llama_conversations.errors import ConfigError, ConfigProblem
from llama_conversations.log import get_logger
from llama_conversations.stack.provider_spec import ProviderSpec

log = get_logger(__name__)

ENTRY_POINT_GROUP = "llama_conversations.providers"
"""An entry point of this group names a function without arguments that returns a list of ``ProviderSpec``."""

ProviderKey = tuple[str, str]
"""API and provider type, such as ``("inference", "remote::openai")``."""

ProviderSpecs = Mapping[ProviderKey, ProviderSpec]


def provider_specs() -> ProviderSpecs:
    """The specs of all installed providers, sorted by API and type.

    A package whose entry point fails is left out with a warning that names it.

    Errors: ``ConfigError`` when two packages offer the same type for the same API.
    """
    specs: dict[ProviderKey, ProviderSpec] = {}
    packages: dict[ProviderKey, str] = {}
    problems: list[ConfigProblem] = []
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        package = _package_of(entry_point)
        for spec in _offered(entry_point, package):
            key = (spec.api, spec.provider_type)
            if key in specs:
                problems.append(_duplicate(spec, packages[key], package))
            else:
                specs[key], packages[key] = spec, package
    if problems:
        raise ConfigError("installed packages", problems)
    return dict(sorted(specs.items()))


def _offered(entry_point: EntryPoint, package: str) -> Sequence[ProviderSpec]:
    try:
        return _checked(cast("Callable[[], object]", entry_point.load())())
    except Exception as error:  # noqa: BLE001 a broken package of somebody else's must not stop the stack
        reason = f"{type(error).__name__}: {error}"
        log.warning("Ignoring the providers of package '%s' (%s): %s", package, entry_point.value, reason)
        return ()


def _checked(offered: object) -> Sequence[ProviderSpec]:
    if not isinstance(offered, list) or not all(isinstance(spec, ProviderSpec) for spec in offered):
        raise TypeError("the function does not return a list of ProviderSpec")
    return offered


def _package_of(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else entry_point.module


def _duplicate(spec: ProviderSpec, first: str, second: str) -> ConfigProblem:
    return ConfigProblem(
        f"{spec.api}: {spec.provider_type}", f"is offered by two packages, '{first}' and '{second}'; uninstall one"
    )
