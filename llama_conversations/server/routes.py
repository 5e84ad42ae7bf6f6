"""From protocols and their implementations to routes that can be called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from llama_conversations.apis.channels import Channel
from llama_conversations.apis.webmethod import WebMethod, webmethods, websockets
from llama_conversations.server.parameters import Parameters, parameters_of
from llama_conversations.wire.answers import EventStream, Json

Answer = Json[BaseModel] | EventStream


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A web method, bound to its implementation.

    Attributes:
        protocol: The API that it belongs to.
        name: Name of the method.
        parameters: Where its arguments come from.
        answer: The shape of its JSON answer.
        streams: It may answer with events.
        call: The implementation's method.
    """

    protocol: type
    name: str
    webmethod: WebMethod
    parameters: Parameters
    answer: type[BaseModel]
    streams: bool
    call: Callable[..., Awaitable[Answer]]


@dataclass(frozen=True, slots=True, eq=False)
class SocketRoute:
    """A WebSocket method, bound to its implementation; ``connect`` makes a connection's channel."""

    protocol: type
    path: str
    connect: Callable[[], Channel]


def bind_sockets(protocol: type, implementation: object) -> list[SocketRoute]:
    """The WebSockets of an API. Raises ``TypeError`` when the implementation lacks one of the methods."""
    routes = []
    for name, path in websockets(protocol):
        connect = getattr(implementation, name, None)
        if not callable(connect):
            raise TypeError(f"{type(implementation).__name__} lacks {protocol.__name__}.{name}")
        routes.append(SocketRoute(protocol, path, connect))
    return routes


def bind(protocol: type, implementation: object) -> list[Route]:
    """The routes of an API, served by an implementation of it.

    Raises:
        TypeError: The implementation lacks a method, or one of its methods does not take the protocol's parameters;
            or the protocol's own annotations cannot be served.
    """
    return [_route(protocol, name, where, implementation) for name, where in webmethods(protocol)]


def _route(protocol: type, name: str, where: WebMethod, implementation: object) -> Route:
    declared = getattr(protocol, name)
    parameters = parameters_of(declared, where.route)
    answer, streams = _answers(declared)
    call = getattr(implementation, name, None)
    if not callable(call):
        raise TypeError(f"{type(implementation).__name__} lacks {protocol.__name__}.{name}")
    names = [parameter.name for parameter in parameters.named()]
    names += [parameters.body.name] if parameters.body else []
    try:
        inspect.signature(call).bind(**dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(
            f"{type(implementation).__name__}.{name} does not take what {protocol.__name__}.{name} does: {error}"
        ) from None
    return Route(protocol, name, where, parameters, answer, streams, call)


def _answers(function: Callable[..., object]) -> tuple[type[BaseModel], bool]:
    """The model of ``Json[model]`` in the return annotation, and whether there is an ``EventStream``."""
    annotation = get_type_hints(function).get("return")
    shapes = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    models = [get_args(shape)[0] for shape in shapes if get_origin(shape) is Json]
    if len(models) != 1:
        raise TypeError(f"{function.__qualname__} must be annotated to answer with Json[…] of one model")
    return models[0], EventStream in shapes
