"""YAML as configuration needs it: what is written is what is read.

PyYAML's own loader would make ``0012`` ten, ``1_000`` a thousand, ``no`` false and ``2026-01-01`` a date. Here a plain
scalar is null (``null``, ``~`` or nothing), true or false (YAML 1.2's spellings alone), a number that remembers its
text (if JSON would read it as a number), and otherwise text. A key is always text, and may stand once in its mapping.
"""

from __future__ import annotations

import math
import re

import yaml

from llama_conversations.config.findings import Finding, KeyPath
from llama_conversations.config.written import WrittenFloat, WrittenInt

_NULL, _BOOL, _NUMBER, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "float", "str"))
_NUMBER_TAGS = {_NUMBER, "tag:yaml.org,2002:int"}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(rf"{_INTEGER.pattern}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_QUOTING_HINT = " (quote a value with '${env.' in it if it holds ': ' or ' #', or stands between [] or {})"


class _Loader(yaml.SafeLoader):
    """Composes nodes whose plain scalars are tagged by the rules above."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (yaml's own declaration)


_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_NUMBER, re.compile(rf"^{_DECIMAL.pattern}$"), list("-0123456789"))


def parse_yaml(text: str) -> tuple[object, list[Finding]]:
    """Read one YAML document.

    Returns:
        The tree (mappings, lists, scalars), and what is wrong: a syntax error with its line and column (the tree is
        then ``None``), keys that stand twice (the first one counts), unknown tags.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        return None, [
            Finding((), f"line {line}, column {column}: the character U+{error.character:04X} is not allowed")
        ]
    except yaml.MarkedYAMLError as error:
        return None, [Finding((), _syntax_message(error, text))]
    builder = _TreeBuilder()
    return (builder.build(node, ()) if node is not None else None), builder.findings


def _syntax_message(error: yaml.MarkedYAMLError, text: str) -> str:
    what = ": ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return what
    marked = "".join(text.splitlines()[mark.line : mark.line + 1])
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}{_QUOTING_HINT if '${env.' in marked else ''}"


class _TreeBuilder:
    """Turns nodes into values, collecting what is wrong."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._open: list[yaml.Node] = []

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if any(node is outer for outer in self._open):
            self._report(node, path, "an alias refers to what it stands in")
            return None
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.build(inner, (*path, position)) for position, inner in enumerate(node.value)]
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        result: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, path, "a key must be text")
                continue
            key = key_node.value
            if key in result:
                self._report(key_node, (*path, key), f"the key stands twice, first in line {lines[key]}")
                continue
            lines[key] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        text: str = node.value
        if node.tag == _TEXT:
            return text
        if node.tag in _NUMBER_TAGS:
            return _number(text)
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _NULL:
            return None
        self._report(node, path, f"the tag {node.tag} is not supported")
        return None

    def _report(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self.findings.append(Finding(path, f"{message} (line {node.start_mark.line + 1})"))


def _number(text: str) -> WrittenInt | WrittenFloat | str:
    """The number that the text says; the text where JSON has no such number."""
    if _INTEGER.fullmatch(text):
        try:
            return WrittenInt(text)
        except ValueError:  # more digits than Python converts
            return text
    number = WrittenFloat(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if isinstance(number, WrittenFloat) and math.isfinite(number) else text
