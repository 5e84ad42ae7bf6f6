"""The process that runs llama.cpp's own HTTP server on a loopback port. Started as a file; imports nothing of ours.

It reads a ``Launch`` as one line of JSON from standard input, and answers with one line on standard output:
``{"address": "http://127.0.0.1:…"}`` or ``{"error": "…"}``. It ends when its standard input does, so that it cannot
outlive the process that started it, however that one ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Protocol, TypedDict

HTTP_THREADS = 64
"""llama.cpp keeps a thread for each open connection: with its default of a few, a health check waits behind turns."""

PROMPT_CACHE_MIB = 512
"""For the contexts of conversations that are not running at the moment; llama.cpp's default is 8 GiB."""

LOG_ERRORS_ONLY = 1

FEW_CORES = 4


class Launch(TypedDict):
    """What to serve: ``context_length`` and ``threads`` may be left to llama.cpp."""

    model_path: str
    model_id: str
    api_key: str
    context_length: int | None
    threads: int | None
    parallel: int


class Serving(Protocol):
    """A server that runs in threads of its own, until it is dropped."""

    listening_address: str


def start(launch: Launch) -> Serving:
    """Load the model and serve it."""
    import xllamacpp  # 100 MB of native code, for this process only

    params = xllamacpp.CommonParams()
    params.model.path = launch["model_path"]
    params.model_alias = {launch["model_id"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [launch["api_key"]]
    params.n_parallel = launch["parallel"]
    params.kv_unified = False  # with one pool for all, two long turns together make both fail
    params.n_ctx = (launch["context_length"] or 0) * launch["parallel"]
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.n_threads_http = HTTP_THREADS
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = LOG_ERRORS_ONLY
    threads = launch["threads"] or _threads(os.cpu_count() or 1)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    server: Serving = xllamacpp.Server(params)
    return server


def _threads(cores: int) -> int:
    """How many, where nothing is said; -1 leaves it to llama.cpp.

    Its threads wait for each other in busy loops. With one for each core, and anything else running on the machine, as
    our own server does, that costs several times the turn: on 2 busy cores, 2 threads took 6.4 s for what 1 thread did
    in 1.5 s. Where there are many cores, llama.cpp takes no more than the physical ones, which leaves some.
    """
    return max(1, cores - 1) if cores <= FEW_CORES else -1


def main() -> None:
    """Serve until standard input ends."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches the whole group; the parent still needs the model
        signal.signal(ignored, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever native code prints is no answer
    launch: Launch = json.loads(sys.stdin.readline())
    try:
        server = start(launch)
        answer = {"address": server.listening_address}
    except (ImportError, RuntimeError, ValueError) as error:
        answer = {"error": str(error)}
    with suppress(BrokenPipeError):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    sys.stdin.read()
    os._exit(0)  # at once: an orderly end would wait for the requests under way


if __name__ == "__main__":
    main()
