"""``python -m scripted_model --port 0``: serve until interrupted; the first line of output is the base URL."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading

from aiohttp import web

from scripted_model.server import ModelServer


async def serve(port: int, until_stdin_ends: bool) -> None:
    runner = web.AppRunner(ModelServer().app(), handler_cancellation=True, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)  # noqa: T201
    stop = asyncio.Event()
    if until_stdin_ends:
        loop = asyncio.get_running_loop()

        def wait_for_stdin() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait_for_stdin, daemon=True).start()
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripted_model", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-stdin-ends", action="store_true", help="so that it cannot outlive its test run")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.port, arguments.until_stdin_ends))


main()
