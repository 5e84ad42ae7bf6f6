"""The little language inside a string: ``${env.NAME}``, ``${env.NAME:=default}``, ``${env.NAME:+value}``.

- ``${env.NAME}`` is the variable's value; a variable that is not set, or empty, is missing.
- ``${env.NAME:=default}`` is the value, or else the default; ``${env.NAME:+value}`` is ``value`` if the variable is set
  and not empty, or else nothing.
- A default or value runs to the brace that balances the opening one, so it may be JSON, and may hold references.
  Inside it, ``\\{`` and ``\\}`` are braces that do not count. Backslashes are special only directly before a brace: two
  of them there are one backslash (so a default that ends in a backslash doubles it). Everywhere else they are text.
- ``$${env.`` stands for the text ``${env.``. A variable's value is text, never read as a template again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_OPENING = "${env."
_ESCAPED_OPENING = "$" + _OPENING
_OUTER_MARK = re.compile(r"\$?\$\{env\.")
_INNER_MARK = re.compile(r"\$?\$\{env\.|\\*[{}]")
_REFERENCE_HEAD = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)(}|:=|:\+)")
_EXCERPT = 24


class MalformedTemplate(ValueError):
    """A ``${env.`` that is not the beginning of a reference."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One ``${env.…}``; ``operator`` is ``}`` (plain), ``:=`` or ``:+``, and ``operand`` what follows it."""

    name: str
    operator: str
    operand: Template


Template = tuple[str | Reference, ...]
"""A parsed string: its literal stretches (never empty) and its references, in order."""


@dataclass
class Expansion:
    """What a template says in an environment.

    Attributes:
        text: The text that it gives.
        consulted: Every variable that was looked up, with its value (``None``: not set).
        missing: The variables without which it cannot be said, each once.
    """

    text: str = ""
    consulted: dict[str, str | None] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)


def parse_template(text: str) -> Template:
    """Take a string apart.

    Raises:
        MalformedTemplate: a ``${env.`` has no name, an unknown operator or no closing brace.
    """
    template, _ = _parse(text, 0, inside=False)
    return template


def expand(template: Template, environ: Mapping[str, str]) -> Expansion:
    """Say a template in an environment; what it does not need (an unused default) is not looked up."""
    expansion = Expansion()
    expansion.text = _expand(template, environ, expansion)
    return expansion


def is_all_references(template: Template) -> bool:
    """Whether nothing literal stands beside the references: such a string, when empty, is null."""
    return bool(template) and all(isinstance(part, Reference) for part in template)


def nominal_text(template: Template) -> str | None:
    """What the template would give if every default and conditional value in it were used; ``None`` if that is open."""
    texts: list[str] = []
    for part in template:
        text = part if isinstance(part, str) else nominal_text(part.operand) if part.operand else None
        if text is None:
            return None
        texts.append(text)
    return "".join(texts)


def _expand(template: Template, environ: Mapping[str, str], expansion: Expansion) -> str:
    return "".join(part if isinstance(part, str) else _value(part, environ, expansion) for part in template)


def _value(reference: Reference, environ: Mapping[str, str], expansion: Expansion) -> str:
    value = environ.get(reference.name)
    expansion.consulted[reference.name] = value
    if reference.operator == ":+":
        return _expand(reference.operand, environ, expansion) if value else ""
    if value:
        return value
    if reference.operator == ":=":
        return _expand(reference.operand, environ, expansion)
    expansion.missing[reference.name] = None
    return ""


def _parse(text: str, start: int, *, inside: bool) -> tuple[Template, int]:
    """Parse from ``start``: to the end of the text, or ``inside`` an operand to its closing brace."""
    parts: list[str | Reference] = []
    depth, position = 0, start
    mark_pattern = _INNER_MARK if inside else _OUTER_MARK
    while found := mark_pattern.search(text, position):
        parts.append(text[position : found.start()])
        mark, position = found.group(), found.end()
        if mark == _OPENING:
            reference, position = _parse_reference(text, found.start())
            parts.append(reference)
        elif mark == _ESCAPED_OPENING:
            parts.append(_OPENING)
            depth += 1
        else:
            backslashes, escaped = divmod(len(mark) - 1, 2)
            parts.append("\\" * backslashes)
            if not escaped:
                depth += 1 if mark[-1] == "{" else -1
            if depth < 0:
                return _merged(parts), position
            parts.append(mark[-1])
    if inside:
        raise MalformedTemplate("a '${env.' is not closed by its '}' (write an unpaired brace in it as '\\{' or '\\}')")
    parts.append(text[position:])
    return _merged(parts), len(text)


def _parse_reference(text: str, start: int) -> tuple[Reference, int]:
    head = _REFERENCE_HEAD.match(text, start)
    if head is None:
        excerpt = text[start : start + _EXCERPT]
        raise MalformedTemplate(
            f"'{excerpt}' is malformed: write ${{env.NAME}}, ${{env.NAME:=default}} or ${{env.NAME:+value}}, "
            "and $${env. for the text itself"
        )
    name, operator = head.groups()
    if operator == "}":
        return Reference(name, operator, ()), head.end()
    operand, end = _parse(text, head.end(), inside=True)
    return Reference(name, operator, operand), end


def _merged(parts: list[str | Reference]) -> Template:
    """The parts with neighbouring literals made one, and empty ones dropped."""
    merged: list[str | Reference] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, str) and isinstance(last, str):
            merged[-1] = last + part
        elif part:
            merged.append(part)
    return tuple(merged)
