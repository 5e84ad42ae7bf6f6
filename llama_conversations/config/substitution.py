"""Environment variables put into a configuration's tree, and what a missing one turns off.

Substitution gives text and never guesses a type: the settings' models do that, each for its own field. A string that
is nothing but references and comes out empty is null. Keys are left as they are, and so is ``~``.

A provider whose ``provider_id`` comes out empty, or as ``__disabled__``, is left out, and nothing else in it is looked
at; so are the registered models that name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from llama_conversations.config.findings import Finding, KeyPath
from llama_conversations.config.template import (
    Expansion,
    MalformedTemplate,
    expand,
    is_all_references,
    nominal_text,
    parse_template,
)
from llama_conversations.config.written import EnvText

DISABLED = "__disabled__"
PROVIDERS = "providers"
RESOURCES = "registered_resources"


@dataclass(frozen=True)
class SkippedProvider:
    """A provider that is left out.

    Attributes:
        api: The API that it would have served.
        provider_type: As it is written in the file.
        provider_id: The name that it would have had, where that can be told.
        reason: Why, such as ``OLLAMA_URL is not set``.
    """

    api: str
    provider_type: str
    provider_id: str | None
    reason: str


@dataclass(frozen=True)
class SkippedModel:
    """A registered model that is left out, and why."""

    model_id: str
    reason: str


@dataclass
class Substitution:
    """A tree with its references replaced.

    Attributes:
        tree: Mappings, lists and scalars, without what is skipped.
        findings: Missing variables and malformed references, with their paths in the original tree.
        providers: The skipped providers.
        models: The skipped models.
        kept: For each list that entries were left out of, by its path: the original positions of those that stayed.
    """

    tree: object = None
    findings: list[Finding] = field(default_factory=list)
    providers: list[SkippedProvider] = field(default_factory=list)
    models: list[SkippedModel] = field(default_factory=list)
    kept: dict[KeyPath, list[int]] = field(default_factory=dict)

    def original_path(self, path: KeyPath) -> KeyPath:
        """The path in the original tree of what stands at ``path`` in this one."""
        for length in range(len(path)):
            position = path[length]
            if isinstance(position, int) and path[:length] in self.kept:
                return (*path[:length], self.kept[path[:length]][position], *path[length + 1 :])
        return path


def substitute(tree: object, environ: Mapping[str, str]) -> Substitution:
    """Replace every ``${env.…}`` in the tree's strings; nothing is raised, what is wrong is in ``findings``."""
    result = Substitution()
    _Substituter(environ, result).run(tree)
    return result


class _Substituter:
    def __init__(self, environ: Mapping[str, str], result: Substitution) -> None:
        self._environ, self._result = environ, result
        self._absent: dict[str, str] = {}  # provider ids that are not there because they were skipped, with the reason
        self._present: set[str] = set()

    def run(self, tree: object) -> None:
        if not isinstance(tree, Mapping):
            self._result.tree = self._walk(tree, ())
            return
        readers = {PROVIDERS: self._providers, RESOURCES: self._resources}
        # Providers come first: which of them are skipped decides which models are.
        keys = sorted(tree, key=lambda key: key != PROVIDERS)
        self._result.tree = {key: readers.get(key, self._walk)(tree[key], (key,)) for key in keys}

    def _providers(self, value: object, path: KeyPath) -> object:
        if not isinstance(value, Mapping):
            return self._walk(value, path)
        return {api: self._api_providers(api, entries, (*path, api)) for api, entries in value.items()}

    def _api_providers(self, api: str, entries: object, path: KeyPath) -> object:
        if not _is_list(entries):
            return self._walk(entries, path)
        kept: dict[int, object] = {}
        for position, entry in enumerate(entries):
            reason = self._skip_reason(entry)
            if reason is not None:
                self._skip_provider(api, entry, reason)
            else:
                kept[position] = self._walk(entry, (*path, position))
                self._present.add(str(_field(kept[position], "provider_id")))
        self._result.kept[path] = list(kept)
        return list(kept.values())

    def _skip_provider(self, api: str, entry: object, reason: str) -> None:
        written = _field(entry, "provider_id")
        name = nominal_text(parse_template(written)) if isinstance(written, str) else None
        name = None if name in ("", DISABLED) else name
        if name is not None:
            self._absent[name] = reason
        provider_type = str(_field(entry, "provider_type") or "")
        self._result.providers.append(SkippedProvider(api, provider_type, name, reason))

    def _resources(self, value: object, path: KeyPath) -> object:
        if not isinstance(value, Mapping):
            return self._walk(value, path)
        readers = {"models": self._models, "tool_groups": self._tool_groups}
        return {key: readers.get(key, self._walk)(inner, (*path, key)) for key, inner in value.items()}

    def _models(self, entries: object, path: KeyPath) -> object:
        if not _is_list(entries):
            return self._walk(entries, path)
        kept: dict[int, object] = {}
        for position, entry in enumerate(entries):
            reason = self._skip_reason(entry) or self._absence_reason(entry)
            if reason is not None:
                self._result.models.append(SkippedModel(str(_field(entry, "model_id")), reason))
            else:
                kept[position] = self._walk(entry, (*path, position))
        self._result.kept[path] = list(kept)
        return list(kept.values())

    def _tool_groups(self, entries: object, path: KeyPath) -> object:
        if not _is_list(entries):
            return self._walk(entries, path)
        kept = {
            position: self._walk(entry, (*path, position))
            for position, entry in enumerate(entries)
            if (self._skip_reason(entry) or self._absence_reason(entry)) is None
        }
        self._result.kept[path] = list(kept)
        return list(kept.values())

    def _absence_reason(self, entry: object) -> str | None:
        """Why the provider that a model names is not there, if it was skipped."""
        written = _field(entry, "provider_id")
        expansion = self._try_expand(written) if isinstance(written, str) else None
        name = expansion.text if expansion else None
        if name is None or name in self._present or name not in self._absent:
            return None
        return f"its provider '{name}' is skipped: {self._absent[name]}"

    def _skip_reason(self, entry: object) -> str | None:
        """Why an entry with this ``provider_id`` is left out; ``None``: it is not."""
        if not isinstance(entry, Mapping) or "provider_id" not in entry:
            return None
        written = entry["provider_id"]
        if not written and written in (None, ""):
            return "its provider_id is empty"
        expansion = self._try_expand(written) if isinstance(written, str) else None
        if expansion is None or expansion.missing or expansion.text not in ("", DISABLED):
            return None
        return _reason(expansion)

    def _try_expand(self, text: str) -> Expansion | None:
        """What the text says; ``None`` when it is malformed, which is reported where the entry is walked."""
        try:
            return expand(parse_template(text), self._environ)
        except MalformedTemplate:
            return None

    def _walk(self, value: object, path: KeyPath) -> object:
        if isinstance(value, Mapping):
            return {key: self._walk(inner, (*path, key)) for key, inner in value.items()}
        if _is_list(value):
            return [self._walk(inner, (*path, position)) for position, inner in enumerate(value)]
        if isinstance(value, str) and "${env." in value:
            return self._text(value, path)
        return value

    def _text(self, written: str, path: KeyPath) -> EnvText | None:
        try:
            template = parse_template(written)
        except MalformedTemplate as error:
            self._result.findings.append(Finding(path, str(error)))
            return None
        expansion = expand(template, self._environ)
        self._result.findings.extend(Finding(path, f"{name} is missing", name) for name in expansion.missing)
        if not expansion.text and is_all_references(template):
            return None
        return EnvText(expansion.text, written)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _field(entry: object, key: str) -> object:
    return entry.get(key) if isinstance(entry, Mapping) else None


def _reason(expansion: Expansion) -> str:
    """Which variables turned something off."""
    consulted = expansion.consulted
    disabling = [f"{name} is {DISABLED}" for name, value in consulted.items() if value == DISABLED]
    unset = [f"{name} is {'not set' if value is None else 'empty'}" for name, value in consulted.items() if not value]
    present = [f"{name} is set" for name in consulted]
    return " and ".join(disabling or unset or present) or "disabled in the file"
