"""Starts a scripted model server and talks to its controls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from controlled_process import ControlledProcess
from scripted_model.answers import Answer, JsonObject, Step


@dataclass(frozen=True)
class LoggedRequest:
    """A request that the model server got; ``outcome`` is running, complete, disconnected or dropped."""

    path: str
    headers: dict[str, str]
    raw: str
    body: JsonObject
    model: str | None
    tag: str
    status: int | None
    chunks: int
    outcome: str

    def header(self, name: str) -> str | None:
        """A header, whatever its case."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


class ScriptedModel(ControlledProcess):
    """A model server in a process of its own."""

    def __init__(self) -> None:
        super().__init__("scripted_model", "--until-stdin-ends")

    @property
    def base_url(self) -> str:
        """Where models are asked."""
        return self.told

    @property
    def address(self) -> str:
        """Without ``/v1``."""
        return self.base_url.removesuffix("/v1")

    def requests(
        self, *, model: str | None = None, tag: str | None = None, count: int = 0, ended: bool = False
    ) -> list[LoggedRequest]:
        """The requests for a model or with a tag, oldest first.

        Waits up to 10 s until there are ``count``, and with ``ended`` until none is running. Raises ``NotInTime``.
        """
        return [LoggedRequest(**entry) for entry in self.journal(model=model, tag=tag, count=count, ended=int(ended))]

    async def ended(self, *, model: str | None = None, tag: str | None = None, count: int = 1) -> list[LoggedRequest]:
        """``requests`` that have ended, for asynchronous tests."""
        return await asyncio.to_thread(self.requests, model=model, tag=tag, count=count, ended=True)

    def script(self, *answers: Answer | tuple[Step, ...], tag: str = "") -> None:
        """Queue answers for requests to the model ``scripted`` with that tag in their last user text."""
        whole = [answer if isinstance(answer, Answer) else Answer(answer) for answer in answers]
        self.call("POST", "/control/script", {"tag": tag, "answers": [answer.to_json() for answer in whole]})
