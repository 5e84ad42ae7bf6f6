"""A process that runs Python code again and again in forks of itself, with everything imported that a server needs.

``python -P forking.py``, with a socket as its standard input. A message of JSON asks, a message of JSON answers:
``{"code": text, "arguments": [...], "directory": path, "environ": {...}}``, with the files for its standard output and
its standard error, runs code as ``python -c`` does, and answers with the pid; ``{"poll": pid}`` answers with the exit
code, as ``subprocess`` has it, or null. It ends when the socket's other end is closed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import asyncpg.pool
import sqlalchemy.dialects.postgresql.asyncpg
import uvicorn.lifespan.off
import uvloop
from coverage import Coverage

import llama_conversations.cli.serving
import llama_conversations.storage.open_postgresql
from llama_conversations.cli.main import app
from llama_conversations.library import asgi_app
from llama_conversations.stack.stack import Stack

_IMPORTED = (
    app,
    asyncpg.pool,
    llama_conversations.cli.serving,
    llama_conversations.storage.open_postgresql,
    sqlalchemy.dialects.postgresql.asyncpg,
    uvicorn.lifespan.off,
    uvloop,
)
"""What ``rehearse`` leaves out and servers need."""

MAX_BYTES = 1 << 20
"""Of a message: a whole environment is in it."""


def main() -> None:
    """Fork until nobody asks any more; each fork goes on with its code."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(rehearse(Path(folder)))
    if measured := Coverage.current():
        measured.save()  # once, and not with each fork's own
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those that are forked
    gc.freeze()
    if (code := fork_as_asked(socket.socket(fileno=0))) is not None:
        exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})


async def rehearse(directory: Path) -> None:
    """Open a stack on an empty database, so that all is imported, compiled and cached that this needs."""
    logging.disable()
    provider = {"base_url": "http://127.0.0.1:9/v1", "models": ["none"], "discover_models": False}
    inference = {"provider_id": "none", "provider_type": "remote::openai", "config": provider}
    config = {
        "version": 1,
        "distro_name": "rehearsal",
        "providers": {"inference": [inference]},
        "storage": {"backends": {"default": {"type": "sql_sqlite", "path": str(directory / "state.db")}}},
    }
    async with Stack.from_config(config) as stack:
        asgi_app(stack)
    logging.disable(logging.NOTSET)


def fork_as_asked(asking: socket.socket) -> str | None:
    """The code to run, in each fork; ``None`` in this process, in the end."""
    while True:
        message, files, *_ = socket.recv_fds(asking, MAX_BYTES, 2)
        if not message:
            return None
        asked = json.loads(message)
        if "poll" in asked:
            answer = poll(asked["poll"])
        elif (answer := os.fork()) == 0:
            asking.detach()
            sys.argv = asked["arguments"]
            become(asked["directory"], asked["environ"], *files)
            return asked["code"]
        for file in files:
            os.close(file)
        asking.send(json.dumps(answer).encode())


def become(directory: str, environ: Mapping[str, str], stdout: int, stderr: int) -> None:
    """Be as a process that was started in this way."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, stdout, stderr)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def poll(pid: int) -> int | None:
    """The exit code of one that has ended."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    main()
