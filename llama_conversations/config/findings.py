"""What is found wrong in a configuration: where it stands, and what it is in plain words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from llama_conversations.errors import ConfigError, ConfigProblem, EnvVarError

KeyPath = tuple[str | int, ...]
"""Where something stands: the keys and list positions that lead to it."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Finding:
    """One thing wrong; ``variable`` names the environment variable that is missing, if it is that."""

    path: KeyPath
    message: str
    variable: str | None = None


def config_error(source: str, findings: Iterable[Finding]) -> ConfigError:
    """The findings as one error; a single missing variable is an ``EnvVarError``."""
    errors = [_one_error(source, finding) for finding in findings]
    if len(errors) == 1:
        return errors[0]
    return ConfigError(source, [problem for error in errors for problem in error.problems])


def _one_error(source: str, finding: Finding) -> ConfigError:
    path = key_path_text(finding.path)
    if finding.variable is not None:
        return EnvVarError(source, path, finding.variable)
    return ConfigError(source, [ConfigProblem(path, finding.message)])


def key_path_text(path: KeyPath) -> str:
    """``providers.inference[0].config.base_url``; an unusual key is quoted: ``metadata["a.b"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not _PLAIN_KEY.fullmatch(part):
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """``unknown API 'inferense'; did you mean 'inference'?``, or all that is known, where nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"unknown {what} '{name}'; did you mean '{near[0]}'?"
    return f"unknown {what} '{name}'; known: {', '.join(names) or 'none'}"
