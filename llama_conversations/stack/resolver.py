"""From a configuration and the installed providers to what is to be opened, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import PackageNotFoundError, distribution

from llama_conversations.config.findings import Finding, KeyPath, config_error
from llama_conversations.config.loader import LoadedConfig
from llama_conversations.config.run_config import ProviderEntry
from llama_conversations.config.settings import parse_settings
from llama_conversations.stack.known_apis import SERVICE_APIS
from llama_conversations.stack.provider_spec import ProviderConfig, ProviderSpec
from llama_conversations.stack.registry import ProviderSpecs

_DISTRIBUTION_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class ResolvedProvider:
    """A provider of run.yaml with its spec and its checked settings; ``path`` says where it stands in the file."""

    api: str
    provider_id: str
    spec: ProviderSpec
    config: ProviderConfig
    path: KeyPath


def resolve(loaded: LoadedConfig, specs: ProviderSpecs) -> Sequence[ResolvedProvider]:
    """The providers of a configuration in the order in which they are to be opened.

    Nothing is imported or started for it. Errors: ``ConfigError`` with everything that is wrong.
    """
    providers: list[ResolvedProvider] = []
    findings: list[Finding] = []
    for api in loaded.config.apis:
        for entry in loaded.config.providers.get(api, ()):
            path = loaded.provider_paths[api, entry.provider_id]
            resolved, wrong = resolve_provider(api, entry, path, specs)
            findings += wrong
            providers += [resolved] if resolved else []
    findings += _dependency_findings(providers)
    if findings:
        raise config_error(loaded.source, findings)
    return order_by_dependency(providers)


def resolve_provider(
    api: str, entry: ProviderEntry, path: KeyPath, specs: ProviderSpecs
) -> tuple[ResolvedProvider | None, Sequence[Finding]]:
    """One provider, and what is wrong with it; ``None`` when that leaves nothing to open."""
    spec = specs.get((api, entry.provider_type))
    if spec is None:
        known = [provider_type for of, provider_type in specs if of == api]
        return None, [Finding((*path, "provider_type"), _unknown_type(entry.provider_type, known))]
    config, findings = parse_settings(spec.config_class, entry.config, (*path, "config"))
    findings = [*findings, *_missing_packages(spec, path)]
    return (ResolvedProvider(api, entry.provider_id, spec, config, path) if config else None), findings


def order_by_dependency(providers: Sequence[ResolvedProvider]) -> Sequence[ResolvedProvider]:
    """The providers, those of an API after those of the APIs that it needs, else as they came.

    Errors: ``graphlib.CycleError``.
    """
    needs: dict[str, set[str]] = {provider.api: set() for provider in providers}
    for provider in providers:
        needs[provider.api].update(api for api in provider.spec.api_dependencies if api in needs)
    apis = list(TopologicalSorter(needs).static_order())
    return sorted(providers, key=lambda provider: apis.index(provider.api))


def _unknown_type(provider_type: str, known: Sequence[str]) -> str:
    """Names what is near, whether or not ``inline`` and ``remote`` were mixed up, and what there is."""
    names = {kind.partition("::")[2]: kind for kind in known}
    near = get_close_matches(provider_type.partition("::")[2], names, n=1)
    hint = f"did you mean '{names[near[0]]}'? " if near else ""
    return f"unknown provider type '{provider_type}'; {hint}installed: {', '.join(sorted(known)) or 'none'}"


def _missing_packages(spec: ProviderSpec, path: KeyPath) -> Iterable[Finding]:
    missing = [package for package in spec.pip_packages if not _is_installed(package)]
    if missing:
        wanted = " ".join(f"'{package}'" for package in missing)
        yield Finding(path, f"{spec.provider_type} needs a package that is not installed: pip install {wanted}")


def _is_installed(requirement: str) -> bool:
    """Whether some version of the package that pip would install is there."""
    name = _DISTRIBUTION_NAME.match(requirement)
    try:
        distribution(name[0] if name else requirement)
    except PackageNotFoundError:
        return False
    return True


def _dependency_findings(providers: Sequence[ResolvedProvider]) -> Iterable[Finding]:
    """APIs that a provider needs and that have no implementation, or several, or need each other in a circle."""
    for provider in providers:
        for api in provider.spec.api_dependencies:
            implementations = [other.provider_id for other in providers if other.api == api]
            if api not in SERVICE_APIS and len(implementations) != 1:
                found = f"several: {', '.join(implementations)}" if implementations else "none"
                message = f"{provider.spec.provider_type} needs one provider of API '{api}', and there is {found}"
                yield Finding(provider.path, message)
    try:
        order_by_dependency(providers)
    except CycleError as error:
        circle = " needs ".join(f"'{api}'" for api in reversed(error.args[1]))
        yield Finding(("providers",), f"APIs need each other in a circle: {circle}")
