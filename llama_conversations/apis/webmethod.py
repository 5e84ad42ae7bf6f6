"""Routes are stated once: by a decorator on the methods of an API's protocol class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Method = Literal["GET", "POST", "PUT", "DELETE"]

V1 = "v1"
"""API level: the first path segment of every stable route."""

_ATTRIBUTE = "__webmethod__"
_SOCKET_ATTRIBUTE = "__websocket__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class WebMethod:
    """Where a method is served.

    Attributes:
        route: Path below the level, with ``{name}`` for path parameters; ``{name:path}`` takes slashes as well.
        method: HTTP method.
        level: API level, such as ``v1``.
    """

    route: str
    method: Method
    level: str

    @property
    def path(self) -> str:
        """The whole path, such as ``/v1/conversations/{conversation_id}``."""
        return f"/{self.level}{self.route}"


def webmethod(route: str, method: Method, level: str = V1) -> Callable[[F], F]:
    """Serve a protocol's method under a route.

    Parameters of the method are taken from the path and the query by their names; one parameter annotated with a
    pydantic model is the body. The return annotation is the shape of the answer.

        @webmethod(route="/conversations/{conversation_id}", method="GET", level=V1)
        async def get_conversation(self, conversation_id: str) -> Json[Conversation]: ...
    """

    def mark(function: F) -> F:
        setattr(function, _ATTRIBUTE, WebMethod(route, method, level))
        return function

    return mark


def webmethods(protocol: type) -> Iterator[tuple[str, WebMethod]]:
    """The names and routes of a protocol's web methods, in the order of their definition."""
    for name, member in vars(protocol).items():
        found = getattr(member, _ATTRIBUTE, None)
        if isinstance(found, WebMethod):
            yield name, found


def websocket(route: str, level: str = V1) -> Callable[[F], F]:
    """Serve connections (RFC 6455) under a route; the protocol's method makes each one's ``Channel``."""

    def mark(function: F) -> F:
        setattr(function, _SOCKET_ATTRIBUTE, f"/{level}{route}")
        return function

    return mark


def websockets(protocol: type) -> Iterator[tuple[str, str]]:
    """The names and whole paths of a protocol's WebSocket methods."""
    for name, member in vars(protocol).items():
        path = getattr(member, _SOCKET_ATTRIBUTE, None)
        if isinstance(path, str):
            yield name, path
