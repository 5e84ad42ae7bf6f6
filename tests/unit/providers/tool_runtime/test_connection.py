"""A connection that breaks down for a reason nobody foresaw."""

from __future__ import annotations

import asyncio
import logging

import httpx2
import pytest
from mcp.client.session import ClientSession

from llama_conversations_providers.tool_runtime.mcp.connection import Connection, ConnectionLost

URL = "http://secret.example/mcp"


def unforeseen(request: httpx2.Request) -> httpx2.Response:
    raise UnicodeError("a secret")


async def initialize(session: ClientSession) -> None:
    await session.initialize()


async def broken_connection() -> Connection:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(unforeseen))
    connection = Connection(client, URL, initialize)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionLost):
            await connection.open(seconds=5)
    return connection


async def test_whoever_opens_it_learns_that_it_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await broken_connection()
    [record] = [record for record in caplog.records if record.name.startswith("llama_conversations")]
    assert record.getMessage() == "a tool server's connection broke down: UnicodeError"
    assert "secret" not in caplog.text


async def test_it_is_of_no_use_and_closing_it_does_nothing() -> None:
    connection = await broken_connection()
    closed = asyncio.Event()
    connection.on_closed(closed.set)
    connection.close()
    connection.close()
    await connection.wait_closed()
    async with asyncio.timeout(5):
        await closed.wait()
    with pytest.raises(ConnectionLost):
        await connection.run(lambda session: session.list_tools(), seconds=5)
