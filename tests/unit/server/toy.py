"""A small API with everything that a route can have, and an implementation that tests can steer."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable
from typing import Literal, Protocol

from llama_conversations.apis.webmethod import webmethod
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.base import JsonValue, Limit, Metadata, RequestModel, WireModel

MAX_BODY_BYTES = 1000
"""What the toys' server takes."""

PING_SECONDS = 0.05
"""Silence after which it sends a ping."""


class Echo(WireModel):
    """What the implementation was called with."""

    arguments: dict[str, JsonValue]


class Note(RequestModel):
    """A body.

    It has two paragraphs.
    """

    text: str
    metadata: Metadata | None = None


class Wish(RequestModel):
    """A body that may be absent."""

    text: str | None = None


class Toys(Protocol):
    """Toys of ``every`` kind."""

    @webmethod(route="/toys", method="GET")
    @abstractmethod
    async def list_toys(
        self,
        *,
        limit: Limit = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
        deep: bool | None = None,
        include: list[Literal["size", "colour"]] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Json[Echo]:
        """List toys.

        ``metadata[key]=value`` keeps those that have that pair.
        """
        ...

    @webmethod(route="/toys", method="POST")
    @abstractmethod
    async def create_toy(self, request: Wish | None = None) -> Json[Echo]:
        """Create a toy."""
        ...

    @webmethod(route="/toys/best", method="GET")
    @abstractmethod
    async def best_toy(self, *, since: int) -> Json[Echo]:
        """The best toy."""
        ...

    @webmethod(route="/toys/{toy_id}", method="GET")
    @abstractmethod
    async def get_toy(self, toy_id: str) -> Json[Echo]:
        """Retrieve a toy."""
        ...

    @webmethod(route="/toys/{toy_id}/parts/{number}", method="POST")
    @abstractmethod
    async def update_part(self, toy_id: str, number: int, request: Note) -> Json[Echo]:
        """Update a part."""
        ...

    @webmethod(route="/toys/{toy_id}/parts/{number}", method="DELETE")
    @abstractmethod
    async def delete_part(self, toy_id: str, number: int) -> Json[Echo]:
        """Delete a part."""
        ...

    @webmethod(route="/files/{name:path}", method="GET")
    @abstractmethod
    async def get_file(self, name: str) -> Json[Echo]:
        """Retrieve a file."""
        ...

    @webmethod(route="/play", method="POST")
    @abstractmethod
    async def play(self, request: Note) -> Json[Echo] | EventStream:
        """Play, streamed or not."""
        ...

    @webmethod(route="/play", method="GET")
    @abstractmethod
    async def watch(self) -> Json[Echo] | EventStream:
        """Watch what is played."""
        ...


Frames = Callable[[], AsyncGenerator[bytes, None]]


class Toybox:
    """Answers with the arguments it got; fails with ``error`` if there is one.

    ``frames`` makes the stream that ``play`` answers with; without it ``play`` waits for ``may_answer``.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.frames: Frames | None = None
        self.called = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.cancelled = asyncio.Event()

    def _echo(self, **arguments: JsonValue) -> Json[Echo]:
        self.called.set()
        if self.error is not None:
            raise self.error
        return Json.of(Echo(arguments=arguments))

    async def list_toys(self, *, limit=0, order="", after="", deep=False, include=(), metadata=None) -> Json[Echo]:
        return self._echo(limit=limit, order=order, after=after, deep=deep, include=include, metadata=metadata)

    async def create_toy(self, request: Wish | None = None) -> Json[Echo]:
        return self._echo(text=request.text if request else None)

    async def best_toy(self, *, since: int) -> Json[Echo]:
        return self._echo(since=since)

    async def get_toy(self, toy_id: str) -> Json[Echo]:
        return self._echo(toy_id=toy_id)

    async def update_part(self, toy_id: str, number: int, request: Note) -> Json[Echo]:
        return self._echo(toy_id=toy_id, number=number, text=request.text)

    async def delete_part(self, toy_id: str, number: int) -> Json[Echo]:
        return self._echo(toy_id=toy_id, number=number)

    async def get_file(self, name: str) -> Json[Echo]:
        return self._echo(name=name)

    async def play(self, request: Note) -> Json[Echo] | EventStream:
        return await self.watch()

    async def watch(self) -> Json[Echo] | EventStream:
        answer = self._echo()
        if self.frames is not None:
            return EventStream(self.frames())
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return answer
