"""From whatever names a configuration to a checked one, its providers held against those that are installed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llama_conversations.config.adhoc import adhoc_run_config
from llama_conversations.config.findings import Finding, KeyPath
from llama_conversations.config.loader import Document, LoadedConfig, load_document, read_document
from llama_conversations.config.run_config import ProviderEntry
from llama_conversations.errors import ConfigError, ConfigProblem
from llama_conversations.stack.provider_spec import ProviderSpec
from llama_conversations.stack.registry import ProviderSpecs
from llama_conversations.stack.resolver import resolve, resolve_provider

ConfigSource = str | Path | Mapping[str, object]
"""A run.yaml's path, a distribution's name, ``api=provider`` pairs, or the configuration itself as a mapping."""


def load_stack_config(
    source: ConfigSource, environ: Mapping[str, str], specs: ProviderSpecs, providers: str | None = None
) -> LoadedConfig:
    """Load a configuration.

    Args:
        source: What names it; text with an ``=`` is ``api=provider`` pairs, unless a file is called so.
        environ: Variables that ``${env.NAME}`` names.
        providers: ``api=provider`` pairs whose APIs get these providers instead of the source's.

    Errors: ``ConfigError`` with everything that is wrong, in the settings of the providers, too.
    """

    def check(api: str, entry: ProviderEntry, path: KeyPath) -> Iterable[Finding]:
        return resolve_provider(api, entry, path, specs)[1]

    document = read_stack_document(source, specs)
    if providers is not None:
        document = _with_providers(document, adhoc_run_config(providers, _by_api(specs)))
    return load_document(document, environ, check)


def check_config(source: ConfigSource, environ: Mapping[str, str], specs: ProviderSpecs) -> Sequence[ConfigProblem]:
    """Everything that would keep a configuration from being opened, as far as that shows without starting anything."""
    try:
        resolve(load_stack_config(source, environ, specs), specs)
    except ConfigError as error:
        return error.problems
    return ()


def read_stack_document(source: ConfigSource, specs: ProviderSpecs) -> Document:
    """A configuration as it is written; that of ``api=provider`` pairs is made of the providers' samples.

    Errors: ``ConfigError`` when the pairs, or the distribution's name, are wrong.
    """
    if isinstance(source, str) and "=" in source and not Path(source).exists():
        return replace(read_document(adhoc_run_config(source, _by_api(specs))), source=source)
    return read_document(source)


def _with_providers(document: Document, adhoc: Mapping[str, object]) -> Document:
    """The document with the ad-hoc providers in the place of those that it has for the same APIs."""
    if not isinstance(document.tree, Mapping):
        return document
    providers = {**_mapping(document.tree.get("providers")), **_mapping(adhoc["providers"])}
    return replace(document, tree={**document.tree, "providers": providers, "apis": list(providers)})


def _mapping(tree: object) -> Mapping[str, object]:
    return tree if isinstance(tree, Mapping) else {}


def _by_api(specs: ProviderSpecs) -> Mapping[str, Sequence[ProviderSpec]]:
    by_api: dict[str, list[ProviderSpec]] = defaultdict(list)
    for spec in specs.values():
        by_api[spec.api].append(spec)
    return by_api
