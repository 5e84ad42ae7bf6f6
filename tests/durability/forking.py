"""``python -m durability.forking``: starts ``stack`` again and again as forks of itself, with everything imported.

A line of JSON asks, a line of JSON answers: ``{"run": [arguments], "output": path}`` starts one whose output goes to
that path, and answers with its pid; ``{"poll": pid}`` answers with its exit code, as ``subprocess`` has it, or null.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

import asyncpg.pool
import sqlalchemy.dialects.postgresql.asyncpg
import uvicorn.lifespan.off
import uvloop

import llama_conversations.cli.serving
import llama_conversations.storage.open_postgresql
import llama_conversations_providers.inference.openai_wire.provider
from llama_conversations.cli.main import app

_IMPORTED = (
    asyncpg.pool,
    sqlalchemy.dialects.postgresql.asyncpg,
    uvicorn.lifespan.off,
    uvloop,
    llama_conversations.cli.serving,
    llama_conversations.storage.open_postgresql,
    llama_conversations_providers.inference.openai_wire.provider,
)
"""What would be imported at the start of each."""


def run(arguments: list[str], output: str) -> int:
    """Fork; the pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _take_files(output)
            app(arguments, standalone_mode=False)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001  (this process is another one: nothing may get out of here)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def _take_files(output: str) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    written = os.open(output, os.O_WRONLY)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(written)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def poll(pid: int) -> int | None:
    """The exit code of one that has ended."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def main() -> None:
    """Answer a line for each line."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer = run(asked["run"], asked["output"]) if "run" in asked else poll(asked["poll"])
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
