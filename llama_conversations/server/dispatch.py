"""Finding what serves a request: a tree of path segments, walked by one look-up for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

from llama_conversations.errors import MethodNotAllowed, RouteNotFound

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    """A place in the tree: where the next segment leads, and what is served here for each method."""

    literals: dict[str, _Node[T]] = field(default_factory=dict)
    parameter: _Node[T] | None = None
    rest: _Node[T] | None = None
    methods: dict[str, T] = field(default_factory=dict)


class RouteTable(Generic[T]):
    """What is served under which path and method.

    A literal segment wins over ``{name}``, and that over ``{name:path}``, which takes one segment or more. Segments are
    percent-decoded after the path is split, so an encoded slash is part of its segment. An empty segment matches
    nothing: neither ``//`` nor a slash at the end is tolerated. HEAD is served as GET.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, path: str, target: T) -> None:
        """Serve ``target`` under a path such as ``/v1/conversations/{conversation_id}``.

        Raises:
            ValueError: Something else is served there, or ``{name:path}`` is not the last segment.
        """
        node = self._root
        *before, last = path[1:].split("/")
        for segment in before:
            if segment.endswith(":path}"):
                raise ValueError(f"{path}: a parameter that takes slashes must come last")
            node = _child(node, segment)
        node = _child(node, last)
        if method in node.methods:
            raise ValueError(f"{method} {path} is served already")
        node.methods[method] = target

    def find(self, method: str, path: str, raw_path: bytes) -> tuple[T, Sequence[str]]:
        """What serves a request, and the texts of its path parameters.

        Args:
            path: The path, percent-decoded as a whole.
            raw_path: The path as it came.

        Raises:
            RouteNotFound: Nothing is served there.
            MethodNotAllowed: Something is, but not for this method.
        """
        segments = path.split("/")
        if b"%" in raw_path:
            segments = [unquote(segment) for segment in raw_path.decode("latin-1").split("/")]
        values: list[str] = []
        node = self._walk(segments, values)
        if node is None or not node.methods:
            raise RouteNotFound(method, path)
        target = node.methods.get("GET" if method == "HEAD" else method)
        if target is None:
            raise MethodNotAllowed(method, path, _allowed(node.methods))
        return target, values

    def _walk(self, segments: list[str], values: list[str]) -> _Node[T] | None:
        node = self._root
        for place in range(1, len(segments)):
            segment = segments[place]
            if (literal := node.literals.get(segment)) is not None:
                node = literal
            elif not segment:
                return None
            elif node.parameter is not None:
                values.append(segment)
                node = node.parameter
            else:
                values.append("/".join(segments[place:]))
                return node.rest
        return node


def _child(node: _Node[T], segment: str) -> _Node[T]:
    if segment.endswith(":path}"):
        node.rest = node.rest or _Node()
        return node.rest
    if segment.startswith("{"):
        node.parameter = node.parameter or _Node()
        return node.parameter
    return node.literals.setdefault(segment, _Node())


def _allowed(methods: dict[str, T]) -> list[str]:
    """The methods for an Allow header (RFC 9110, 10.2.1)."""
    return [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
