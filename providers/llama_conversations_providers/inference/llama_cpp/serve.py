"""The process that runs llama.cpp's own HTTP server on a loopback port. Started as a file; imports nothing of ours.

It reads one line of JSON from standard input, the fields of ``launch.Launch``, and answers one line on standard output:
``{"address": "http://127.0.0.1:…"}`` or ``{"error": "…"}``. It ends when its standard input does, so that it cannot
outlive the process that started it, however that one ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys

HTTP_THREADS = 64
"""llama.cpp keeps a thread for each open connection: with its default of a few, a health check waits behind turns."""

PROMPT_CACHE_MIB = 512
"""For the contexts of conversations that are not running at the moment; llama.cpp's default is 8 GiB."""

LOG_ERRORS_ONLY = 1


def start(launch: dict[str, object]) -> object:
    """Load the model and serve it; returns the ``xllamacpp.Server``, which stops when it is dropped."""
    import xllamacpp  # 100 MB of native code, for this process only

    parallel = launch["parallel"]
    params = xllamacpp.CommonParams()
    params.model.path = launch["model_path"]
    params.model_alias = {launch["model_id"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [launch["api_key"]]
    params.n_parallel = parallel
    params.kv_unified = False  # with one pool for all, two long turns together make both fail
    params.n_ctx = launch["context_length"] * parallel if launch["context_length"] else 0
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.n_threads_http = HTTP_THREADS
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = LOG_ERRORS_ONLY
    if launch["threads"]:
        params.cpuparams.n_threads = launch["threads"]
        params.cpuparams_batch.n_threads = launch["threads"]
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until standard input ends."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches the whole group; the parent still needs the model
        signal.signal(ignored, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever native code prints is no answer
    launch = json.loads(sys.stdin.readline())
    try:
        server = start(launch)
        answer = {"address": server.listening_address}
    except (ImportError, RuntimeError, ValueError) as error:
        answer = {"error": str(error)}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    sys.stdin.read()
    os._exit(0)  # at once: an orderly end would wait for the requests under way


if __name__ == "__main__":
    main()
