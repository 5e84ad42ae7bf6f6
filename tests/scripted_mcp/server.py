"""The whole application: the server, and the controls under ``/control``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from scripted_mcp.front import Front
from scripted_mcp.journal import Journal


@asynccontextmanager
async def application() -> AsyncIterator[Starlette]:
    """An ASGI application, running."""
    journal = Journal()
    front = Front(journal)
    controls = Controls(journal)
    routes = [
        Route("/mcp", endpoint=front),
        Route("/mcp/below", endpoint=front),
        Route("/control/requests", controls.requests),
        Route("/control/gates/{name}/open", controls.open_gate, methods=["POST"]),
        Route("/control/gates/{name}/{state}", controls.wait_for_gate),
    ]
    async with AsyncExitStack() as stack:
        for manager in front.managers():
            await stack.enter_async_context(manager.run())
        yield Starlette(routes=routes)


class Controls:
    """What the tests ask for."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def requests(self, request: Request) -> JSONResponse:
        """Journal entries of a ``tag``, if asked of one ``rpc``; waits until there are ``count`` of them."""
        query = request.query_params
        tag, rpc, count = query["tag"], query.get("rpc"), int(query.get("count", 0))
        in_time = await self._journal.wait(
            lambda: len(self._journal.matching(tag, rpc)) >= count, float(query.get("timeout", 10))
        )
        entries = [asdict(entry) for entry in self._journal.matching(tag, rpc)]
        return JSONResponse(entries, 200 if in_time else 408)

    async def open_gate(self, request: Request) -> JSONResponse:
        """Let through whoever waits at a gate, and whoever comes later."""
        self._journal.gate(request.path_params["name"]).opened = True
        self._journal.note()
        return JSONResponse({})

    async def wait_for_gate(self, request: Request) -> JSONResponse:
        """Wait until a call has ``reached`` a gate, or has ``left`` it; how it left."""
        gate, state = self._journal.gate(request.path_params["name"]), request.path_params["state"]
        in_time = await self._journal.wait(
            lambda: gate.reached if state == "reached" else gate.left is not None and not gate.reached, 10
        )
        return JSONResponse({"left": gate.left}, 200 if in_time else 408)
