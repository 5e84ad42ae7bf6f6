"""``python -m scripted_mcp --port 0``: serve until interrupted; the first line of output is the address."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from scripted_mcp.server import application


class Server(uvicorn.Server):
    """Says where it is once it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        scheme = "https" if self.config.is_ssl else "http"
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"{scheme}://127.0.0.1:{port}", flush=True)  # noqa: T201


async def serve(port: int, certificate: Path | None) -> None:
    async with application() as app:
        config = uvicorn.Config(
            app,
            port=port,
            log_level="error",
            access_log=False,
            lifespan="off",
            ssl_certfile=certificate,
            timeout_graceful_shutdown=0,
        )
        server = Server(config)
        loop = asyncio.get_running_loop()

        def wait_for_stdin() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(setattr, server, "should_exit", True)

        threading.Thread(target=wait_for_stdin, daemon=True).start()
        await server.serve()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripted_mcp", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", type=Path, help="PEM file with a certificate and its key: serve HTTPS")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.port, arguments.certificate))


main()
