"""Clients that keep conversations going: what they do is drawn from a seed, and what they know of it is their log."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from durability.deployment import Deployment
from durability.observed import all_items
from durability.operations import JOBS, JsonObject, Kind, Operation, Outcome, comparable
from durability.sending import PATIENCE, Request, Sender
from harness.background import ENDED
from harness.conversations import user

WEIGHTS: dict[Kind, int] = {
    "create": 8,
    "append": 24,
    "update": 8,
    "delete item": 6,
    "delete conversation": 1,
    "turn": 14,
    "streamed turn": 14,
    "unstored turn": 4,
    "chained turn": 5,
    "failing turn": 3,
    "job": 5,
    "streamed job": 4,
    "cancelled job": 2,
    "look": 8,
}
KEYED = 0.35
"""Share of the POST requests that have an idempotency key; half of those are sent once more when they are done."""

SHARED = 0.25
"""Share of the appends and turns that go to a conversation which other clients use, too."""

HANG_UP = 0.15
"""Share of the streams that their client leaves."""

THINK_SECONDS = 0.05
MAX_ITEMS = 20
FULL = 60
"""Operations on a conversation before it is left alone."""

SHARED_PATIENCE = 2.0
"""Others may keep a shared conversation locked for longer than a client wants to wait."""


def _same(operation: Operation, first: JsonObject | None) -> bool:
    """Whether a repeat was answered as before. Of a job, if its process died, it tells how far it has come by now."""
    again = operation.answer
    if operation.kind in JOBS and again is not None and first is not None:
        return bool(again["id"] == first["id"])
    return comparable(again) == comparable(first)


@dataclass
class Talk:
    """A conversation as its client knows it: ids of items that it may delete."""

    conversation_id: str
    made_by: str
    known_items: list[str] = field(default_factory=list)
    used: int = 0


class Client:
    """One client. Everything that it chooses comes from its own seed, whatever the others do.

    Args:
        name: Unique; markers begin with it.
        shared: Conversations that several clients use, by who made them.
    """

    def __init__(
        self, name: str, seed: str, http: httpx2.AsyncClient, deployment: Deployment, shared: Sequence[Talk] = ()
    ) -> None:
        self.log: list[Operation] = []
        self._name, self._shared = name, shared
        self._chance = random.Random(f"{seed} {name}")
        self._sender = Sender(http, deployment, random.Random(f"{seed} {name} sending"))
        self._talks: list[Talk] = []
        self._chain: list[str] = []
        self._do: dict[Kind, Callable[[Operation], Coroutine[Any, Any, None]]] = {
            "create": self._create,
            "append": self._append,
            "update": self._update,
            "delete item": self._delete_item,
            "delete conversation": self._delete_conversation,
            "chained turn": self._chained_turn,
            "look": self._look,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """One operation after the other, until it is told to stop."""
        while not stop.is_set():
            await self.step(self._draw())
            await asyncio.sleep(self._chance.uniform(0, THINK_SECONDS))

    async def step(self, kind: Kind) -> Operation:
        """Do one thing, and log it."""
        operation = Operation(f"{self._name}-{len(self.log)}", kind, keyed=self._chance.random() < KEYED)
        self.log.append(operation)
        await self._do.get(kind, self._turn)(operation)
        return operation

    def _draw(self) -> Kind:
        self._talks = [talk for talk in self._talks if talk.used < FULL]
        kind: Kind = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        return kind if self._talks else "create"

    def _own(self, operation: Operation) -> Talk:
        talk = self._chance.choice(self._talks)
        talk.used += 1
        operation.conversation = talk.conversation_id
        return talk

    def _any(self, operation: Operation) -> tuple[Talk, float]:
        """A conversation to write to, and how long to try."""
        if self._shared and self._chance.random() < SHARED:
            talk = self._chance.choice(self._shared)
            operation.conversation = talk.conversation_id
            return talk, SHARED_PATIENCE
        return self._own(operation), PATIENCE

    def _items(self, operation: Operation, count: int) -> list[JsonObject]:
        operation.texts = tuple(f"{operation.marker}.{number}" for number in range(count))
        return [user(text) for text in operation.texts]

    async def _post(
        self, operation: Operation, path: str, body: JsonObject, patience: float = PATIENCE, leave: int | None = None
    ) -> None:
        request = Request("POST", path, body, leave)
        await self._sender.send(operation, request, patience)
        if operation.keyed and operation.done and leave is None and self._chance.random() < 0.5:
            await self._again(operation, request)

    async def _again(self, operation: Operation, request: Request) -> None:
        """The same request with the same key: the same answer."""
        first, ended, told = operation.answer, operation.ended, len(operation.statuses)
        await self._sender.send(operation, request)
        if not _same(operation, first):
            operation.faults.append(f"a repeat was answered with {operation.answer}, not with {first}")
        if refused := [status for status in operation.statuses[told:] if status.startswith("4")]:
            operation.faults.append(f"a repeat was refused: {refused}")
        operation.answer, operation.ended = first, ended

    async def _create(self, operation: Operation) -> None:
        items = self._items(operation, self._chance.randint(0, MAX_ITEMS))
        await self._post(operation, "/conversations", {"metadata": {"op": operation.marker}, "items": items})
        if operation.answer is not None:
            operation.conversation = operation.answer["id"]
            self._talks.append(Talk(operation.answer["id"], operation.marker))

    async def _append(self, operation: Operation) -> None:
        talk, patience = self._any(operation)
        items = self._items(operation, self._chance.randint(1, MAX_ITEMS))
        await self._post(operation, f"/conversations/{talk.conversation_id}/items", {"items": items}, patience)
        if operation.answer is not None and talk not in self._shared:
            talk.known_items += [item["id"] for item in operation.answer["data"]]

    async def _update(self, operation: Operation) -> None:
        talk = self._own(operation)
        metadata = {"op": talk.made_by, "v": operation.marker}
        await self._post(operation, f"/conversations/{talk.conversation_id}", {"metadata": metadata})

    async def _delete_item(self, operation: Operation) -> None:
        talk = self._own(operation)
        if not talk.known_items:
            operation.statuses.append("nothing to delete")
            return
        operation.keyed = False
        operation.target = talk.known_items.pop(self._chance.randrange(len(talk.known_items)))
        path = f"/conversations/{talk.conversation_id}/items/{operation.target}"
        await self._sender.send(operation, Request("DELETE", path))

    async def _delete_conversation(self, operation: Operation) -> None:
        talk = self._own(operation)
        operation.keyed = False
        self._talks.remove(talk)
        await self._sender.send(operation, Request("DELETE", f"/conversations/{talk.conversation_id}"))

    async def _turn(self, operation: Operation) -> None:
        """A turn in a conversation, of any kind."""
        talk, patience = self._any(operation)
        body = self._question(operation) | {"conversation": talk.conversation_id}
        if operation.kind == "unstored turn":
            body["store"] = False
        if operation.kind in JOBS:
            body["background"] = True
        if operation.kind in ("streamed turn", "streamed job"):
            body["stream"] = True
        leave = self._chance.randint(1, 12) if body.get("stream") and self._chance.random() < HANG_UP else None
        await self._post(operation, "/responses", body, patience, leave)
        if operation.kind in JOBS:
            await self._see_job_through(operation)
        answer = operation.answer
        if answer is not None and answer["status"] == "completed" and talk not in self._shared:
            talk.known_items += [item["id"] for item in answer["output"]]

    def _question(self, operation: Operation) -> JsonObject:
        """What a model is asked; it may take its time to answer."""
        pace = f" pace={self._chance.randint(1, 150)}" if self._chance.random() < 0.5 else ""
        operation.texts = (f"{operation.marker}.0{pace}",)
        model = "drop-mid" if operation.kind == "failing turn" else "unhurried"
        return {"model": model, "input": operation.texts[0], "metadata": {"op": operation.marker}}

    async def _see_job_through(self, operation: Operation) -> None:
        """Cancel the job, or wait for its end; or do neither. It is acknowledged when it is queued, and ends later."""
        response = operation.answer or {"id": operation.shown, "status": "queued"}
        operation.ended = math.inf
        if response["id"] is None or self._chance.random() < 0.3:
            return
        path = f"/responses/{response['id']}"
        if operation.kind == "cancelled job":
            await self._cancel(operation, f"{path}/cancel")
        deadline = time.monotonic() + 2 * PATIENCE
        while response["status"] not in ENDED and time.monotonic() < deadline:
            await asyncio.sleep(self._chance.uniform(0.05, 0.2))
            response = (await self._sender.get(path)).json()
        operation.answer, operation.outcome, operation.ended = response, Outcome.DONE, time.monotonic()

    async def _cancel(self, operation: Operation, path: str) -> None:
        cancel = Operation(f"{operation.marker}-cancel", "cancelled job")
        await self._sender.send(cancel, Request("POST", path))
        operation.statuses += [f"cancel: {status}" for status in cancel.statuses]
        if cancel.answer is not None:
            operation.answer = cancel.answer

    async def _chained_turn(self, operation: Operation) -> None:
        """A turn that continues another one, without a conversation."""
        body = self._question(operation)
        if self._chain and self._chance.random() < 0.9:
            operation.target = body["previous_response_id"] = self._chain[-1]
        else:
            self._chain.clear()
        await self._post(operation, "/responses", body)
        if operation.answer is not None and operation.answer["status"] == "completed":
            self._chain.append(operation.answer["id"])

    async def _look(self, operation: Operation) -> None:
        """Read a whole conversation, each page from another server."""
        talk, _ = self._any(operation)
        operation.began = time.monotonic()
        items = await all_items(self._sender, f"/conversations/{talk.conversation_id}", "asc", 50)
        operation.outcome, operation.ended, operation.answer = Outcome.DONE, time.monotonic(), {"data": items}
