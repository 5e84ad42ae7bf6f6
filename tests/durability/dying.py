"""A server that dies at a certain statement of a request, again and again: at the first, at the second, at the last.

``python -m durability.dying RUN_YAML DATABASE`` reads requests, each a line of JSON: method, path, body, key. For each
request and each N, the database is put back as it was before, and a fork of this process (so that everything is
imported once) serves the request and kills itself before its writer's Nth statement, ``BEGIN`` and ``COMMIT`` included.
For each request it prints, as a line of JSON, what was in the database each time; last, when the request came to its
end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2

from llama_conversations.library import asgi_app
from llama_conversations.server.in_process import InProcessTransport
from llama_conversations.services.responses.background import BackgroundJobs
from llama_conversations.stack.stack import Stack
from llama_conversations.storage.dialects import sqlite

_SHAPE = {
    "conversations": "SELECT next_position, lease_holder IS NOT NULL FROM conversations ORDER BY id",
    "items": "SELECT position FROM conversation_items ORDER BY conversation_id, position",
    "responses": "SELECT status FROM responses ORDER BY id",
    "keys": "SELECT status IS NOT NULL FROM idempotency_keys",
    "events": "SELECT COUNT(*) FROM response_events",
}


class Countdown:
    """Kills this process before a statement."""

    def __init__(self, statements: int) -> None:
        self._left = statements
        self.running = False

    def __call__(self, statement: str) -> None:
        if self.running:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


def watch_writers(countdown: Countdown) -> None:
    """Let it be told of every statement that a writer is about to run."""
    begin = sqlite._Writer.__init__

    def watched(self: sqlite._Writer, *arguments: object) -> None:
        begin(self, *arguments)  # type: ignore[arg-type]
        self._connection.set_trace_callback(countdown)

    sqlite._Writer.__init__ = watched  # type: ignore[method-assign]


async def _take_up_nothing(_: BackgroundJobs) -> None:
    """A job that is queued stays so: who takes it up is another story."""


async def serve(run_yaml: str, countdown: Countdown, request: httpx2.Request) -> None:
    """Answer one request."""
    async with (
        Stack.from_config(run_yaml) as stack,
        httpx2.AsyncClient(transport=InProcessTransport(asgi_app(stack))) as http,
    ):
        countdown.running = True
        answer = await http.send(request)
        assert answer.status_code == 200, answer.text
        os._exit(0)  # a process that dies after its answer


def shape_of(path: Path) -> dict[str, object]:
    """What is in the database, without ids and times."""
    with closing(sqlite3.connect(path)) as database:
        return {name: database.execute(sql).fetchall() for name, sql in _SHAPE.items()}


def put_back(before: Path, state: Path) -> None:
    """Make the database what it was."""
    for file in state.parent.glob(f"{state.name}-*"):
        file.unlink()
    shutil.copy(before, state)


def die_at_each_statement(run_yaml: str, state: Path, request: httpx2.Request) -> Iterator[dict[str, object]]:
    """What is in the database after each death."""
    before = state.with_name("before.db")
    shutil.copy(state, before)
    for number in itertools.count():
        put_back(before, state)
        child = os.fork()
        if child == 0:
            watch_writers(countdown := Countdown(number))
            BackgroundJobs.start = _take_up_nothing  # type: ignore[method-assign]
            asyncio.run(serve(run_yaml, countdown, request))
        _, status = os.waitpid(child, 0)
        yield shape_of(state)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
    put_back(before, state)


def main(run_yaml: str, database: str) -> None:
    """Answer a line for each line."""
    logging.disable()
    for line in sys.stdin:
        method, path, body, key = json.loads(line)
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        request = httpx2.Request(method, f"http://stack.in-process/v1{path}", json=body, headers=headers)
        print(json.dumps([*die_at_each_statement(run_yaml, Path(database), request)]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
