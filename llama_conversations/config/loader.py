"""From a file, a distribution's name or a mapping to a checked configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llama_conversations.config.distributions import find_distribution
from llama_conversations.config.findings import Finding, KeyPath, config_error
from llama_conversations.config.run_config import KNOWN_APIS, ProviderEntry, StackRunConfig
from llama_conversations.config.settings import parse_settings
from llama_conversations.config.substitution import SkippedModel, SkippedProvider, substitute
from llama_conversations.config.yaml_text import parse_yaml

MAPPING_SOURCE = "<mapping>"

_DISTRIBUTION_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration and where it came from.

    Attributes:
        config: The settings.
        source: The file, or ``<mapping>``: what a ``ConfigError`` about it names.
        skipped_providers: Providers that are left out, with the reason.
        skipped_models: Registered models that are left out, with the reason.
        provider_paths: By (API, provider id): where the provider stands in the file. ``parse_settings`` takes it, with
            ``"config"`` appended, to name the keys of a provider's own settings.
    """

    config: StackRunConfig
    source: str
    skipped_providers: tuple[SkippedProvider, ...]
    skipped_models: tuple[SkippedModel, ...]
    provider_paths: Mapping[tuple[str, str], KeyPath]


ProviderCheck = Callable[[str, ProviderEntry, KeyPath], Iterable[Finding]]
"""What is wrong with a provider's entry beyond its shape, from its API, the entry and where it stands."""


@dataclass(frozen=True)
class Document:
    """A configuration as it is written, its ``${env.…}`` not yet replaced.

    Attributes:
        source: Where it came from: what a ``ConfigError`` about it names.
        tree: Mappings, lists and scalars; ``None`` when it could not be read.
        findings: What kept it from being read, or is wrong in the way it is written.
    """

    source: str
    tree: object
    findings: list[Finding]


def load_run_config(source: str | Path | Mapping[str, object], environ: Mapping[str, str] = os.environ) -> LoadedConfig:
    """Read a configuration, put the environment's variables in, and check it.

    Args:
        source: A path to a YAML file; the name of a distribution (text of letters, digits, ``_`` and ``-`` only); or
            the configuration itself as a mapping.
        environ: Variables that ``${env.…}`` names.

    Raises:
        EnvVarError: one variable is missing, and nothing else is wrong.
        ConfigError: everything that is wrong, each with the path of its key.
    """
    return load_document(read_document(source), environ)


def load_document(document: Document, environ: Mapping[str, str], check: ProviderCheck | None = None) -> LoadedConfig:
    """Put the environment's variables into a document, and check it.

    Args:
        check: Called for every provider that is not skipped; what it finds is reported with the rest.

    Raises:
        EnvVarError, ConfigError: as ``load_run_config`` does.
    """
    if document.tree is None:
        raise config_error(document.source, document.findings)
    substitution = substitute(document.tree, environ)
    config, wrong = parse_settings(StackRunConfig, substitution.tree)
    if check is not None:
        wrong = [*wrong, *_provider_findings(substitution.tree, check)]
    certain = [*document.findings, *substitution.findings]
    located = [Finding(substitution.original_path(finding.path), finding.message) for finding in wrong]
    findings = [*certain, *(finding for finding in located if not _follows(finding, certain))]
    if config is None or findings:
        raise config_error(document.source, findings)
    return LoadedConfig(
        config,
        document.source,
        tuple(substitution.providers),
        tuple(substitution.models),
        {
            (api, entry.provider_id): substitution.original_path(("providers", api, position))
            for api, entries in config.providers.items()
            for position, entry in enumerate(entries)
        },
    )


def _follows(finding: Finding, certain: list[Finding]) -> bool:
    """Whether a finding may only be there because of another: they stand at one place, or one within the other."""
    return any(all(a == b for a, b in zip(finding.path, other.path, strict=False)) for other in certain)


def _provider_findings(tree: object, check: ProviderCheck) -> Iterator[Finding]:
    """What the check finds in those entries that have the right shape, whatever else is wrong."""
    providers = tree.get("providers") if isinstance(tree, Mapping) else None
    for api, entries in providers.items() if isinstance(providers, Mapping) else ():
        for position, raw in enumerate(entries if isinstance(entries, list) and api in KNOWN_APIS else ()):
            entry, _ = parse_settings(ProviderEntry, raw)
            if entry is not None:
                yield from check(api, entry, ("providers", api, position))


def read_document(source: str | Path | Mapping[str, object]) -> Document:
    """Read a configuration as it is written, from what ``load_run_config`` takes; what is wrong is in its findings."""
    if isinstance(source, Mapping):
        return Document(MAPPING_SOURCE, source, [])
    if isinstance(source, str) and _DISTRIBUTION_NAME.fullmatch(source):
        file = find_distribution(source).file
    else:
        file = Path(os.path.expanduser(source))  # noqa: PTH111 (leaves an unknown '~name' to fail as a path)
    label = str(file)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise config_error(label, [Finding((), f"the file is not UTF-8 (byte {error.start})")]) from None
    except OSError as error:
        raise config_error(label, [Finding((), f"the file cannot be read: {error.strerror}")]) from error
    tree, findings = parse_yaml(text)
    if not findings and not isinstance(tree, Mapping):
        message = "the file is empty" if tree is None else "the file must hold a mapping (key: value) at its top"
        return Document(label, None, [Finding((), message)])
    return Document(label, tree, findings)
