"""A configuration from one line: ``inference=ollama``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from llama_conversations.config.findings import Finding, config_error, unknown_name

ADHOC_NAME = "adhoc"

_SEPARATOR = re.compile(r"[,;]")


class SampledConfig(Protocol):
    """The class of a provider's settings, as far as it matters here."""

    def sample_run_config(self) -> Mapping[str, object]:
        """The settings as they would stand in a run.yaml."""
        ...


class KnownProvider(Protocol):
    """What is asked of a provider's specification."""

    @property
    def provider_type(self) -> str:
        """``inline::name`` or ``remote::name``."""
        ...

    @property
    def config_class(self) -> SampledConfig:
        """Its settings."""
        ...


def adhoc_run_config(spec: str, known: Mapping[str, Sequence[KnownProvider]]) -> dict[str, object]:
    """A configuration of the named providers with their sample settings, everything else by default.

    Args:
        spec: ``api=provider`` pairs, separated by ``,`` or ``;``. A provider goes by its type, with or without its
            ``inline::`` or ``remote::``; it gets its bare name as id.
        known: For each API, the providers that are installed.

    Returns:
        A mapping for ``load_run_config``, its ``${env.…}`` not yet replaced.

    Raises:
        ConfigError: everything in the line that is malformed, unknown or ambiguous.
    """
    findings: list[Finding] = []
    providers: dict[str, list[dict[str, object]]] = {}
    for pair in filter(None, (part.strip() for part in _SEPARATOR.split(spec))):
        found = _find(pair, known)
        if isinstance(found, Finding):
            findings.append(found)
            continue
        api, provider = found
        entry: dict[str, object] = {
            "provider_id": provider.provider_type.split("::", 1)[1],
            "provider_type": provider.provider_type,
            "config": dict(provider.config_class.sample_run_config()),
        }
        providers.setdefault(api, []).append(entry)
    if not findings and not providers:
        findings.append(Finding((), "nothing is named: write api=provider, such as inference=ollama"))
    if findings:
        raise config_error(spec, findings)
    return {
        "version": 1,
        "distro_name": ADHOC_NAME,
        "apis": list(providers),
        "providers": providers,
        "storage": {
            "backends": {
                "default": {
                    "type": "sql_sqlite",
                    "path": "${env.SQLITE_STORE_DIR:=~/.llama_conversations}/state.db",
                }
            }
        },
        "server": {
            "host": "${env.LLAMA_CONVERSATIONS_HOST:=127.0.0.1}",
            "port": "${env.LLAMA_CONVERSATIONS_PORT:=8321}",
        },
    }


def _find(pair: str, known: Mapping[str, Sequence[KnownProvider]]) -> tuple[str, KnownProvider] | Finding:
    api, separator, name = (part.strip() for part in pair.partition("="))
    if not separator or not api or not name:
        return Finding((), f"'{pair}' is not of the form api=provider, such as inference=ollama")
    if api not in known:
        return Finding((), unknown_name("API", api, known))
    named = [spec for spec in known[api] if name in (spec.provider_type, spec.provider_type.split("::", 1)[1])]
    if len(named) == 1:
        return api, named[0]
    if named:
        types = " or ".join(sorted(spec.provider_type for spec in named))
        return Finding((), f"'{name}' may be {types}: name one of them in full")
    types = ", ".join(sorted(spec.provider_type for spec in known[api])) or "none"
    return Finding((), f"unknown provider '{name}' of API '{api}'; known: {types}")
