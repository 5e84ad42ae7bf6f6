from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

import httpx2
import pytest
from starlette.types import ASGIApp

from llama_conversations.config.run_config import LimitsConfig, ServerConfig
from llama_conversations.server.app import build_app
from llama_conversations.server.serve import serve
from unit.server.toy import MAX_BODY_BYTES, PING_SECONDS, Toybox, Toys


@pytest.fixture
async def toybox() -> Toybox:
    return Toybox()


@pytest.fixture
def settings() -> ServerConfig:
    return ServerConfig(limits=LimitsConfig(max_body_bytes=MAX_BODY_BYTES))


@pytest.fixture
def app(toybox: Toybox, settings: ServerConfig) -> ASGIApp:
    return build_app([(Toys, toybox)], settings, ping_seconds=PING_SECONDS)


class Serving(Protocol):
    """Serves an app on a free port of a real server, and tells the port."""

    def __call__(self, app: ASGIApp, host: str = "127.0.0.1") -> AbstractAsyncContextManager[int]: ...


@asynccontextmanager
async def _serving(app: ASGIApp, host: str = "127.0.0.1") -> AsyncIterator[int]:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, host=host, port=0, shutdown_timeout=1, on_started=started.set_result))
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield await started
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def serving() -> Serving:
    """Serve an app on a free port of a real server."""
    return _serving


@pytest.fixture
async def port(app: ASGIApp, serving: Serving) -> AsyncIterator[int]:
    """The port on which the toys are served."""
    async with serving(app) as port:
        yield port


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
