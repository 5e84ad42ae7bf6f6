"""A socket that several accept from: each gets its part, and nothing that waits is lost when one stops."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from llama_conversations.server import accepting
from llama_conversations.server.accepting import Acceptor

CLIENTS = 20


class Greets(asyncio.Protocol):
    """Tells whoever comes its name."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._name)
        transport.close()


class Scarce(socket.socket):
    """A listener that has no file descriptors left at first, or whose clients leave."""

    failures: list[OSError]

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            raise self.failures.pop(0)
        return super().accept()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=CLIENTS) as listener:
        yield listener


@asynccontextmanager
async def accepting_from(listener: socket.socket, name: bytes = b"a") -> AsyncIterator[Acceptor]:
    """Accepts as another process would: with a descriptor of its own."""
    with listener.dup() as own:
        acceptor = Acceptor(own, lambda: Greets(name), shared=True)
        yield acceptor
        acceptor.close()
        await acceptor.wait_closed()


async def greeting(listener: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    told = await reader.read()
    writer.close()
    await writer.wait_closed()
    return told


async def test_those_that_come_at_once_are_shared(listener: socket.socket) -> None:
    async with accepting_from(listener, b"a"), accepting_from(listener, b"b"):
        told = await asyncio.gather(*(greeting(listener) for _ in range(CLIENTS)))
    assert len(told) == CLIENTS
    assert min(told.count(b"a"), told.count(b"b")) > CLIENTS / 4


async def test_a_crowd_that_does_not_end_is_taken_by_more_and_more_at_a_time(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "SINGLE_ROUNDS", 1)
    waiting = [asyncio.ensure_future(greeting(listener)) for _ in range(CLIENTS)]
    async with accepting_from(listener) as acceptor:
        most = 0
        while not all(each.done() for each in waiting):
            most = max(most, acceptor._rounds)
            await asyncio.sleep(0)
        assert most > 1
        assert await greeting(listener) == b"a"


async def test_who_shares_with_nobody_takes_all_that_wait(listener: socket.socket) -> None:
    waiting = [asyncio.ensure_future(greeting(listener)) for _ in range(CLIENTS)]
    await asyncio.sleep(0)
    acceptor = Acceptor(listener, lambda: Greets(b"a"), shared=False)
    turns = 0
    while not all(each.done() for each in waiting):
        turns += 1
        await asyncio.sleep(0)
    acceptor.close()
    await acceptor.wait_closed()
    assert turns < CLIENTS


async def test_who_waits_when_one_stops_is_taken_by_another(listener: socket.socket) -> None:
    async with accepting_from(listener, b"a") as first:
        assert await greeting(listener) == b"a"
        first.close()
        waiting = asyncio.ensure_future(greeting(listener))
        await first.wait_closed()
        async with accepting_from(listener, b"b"):
            assert await waiting == b"b"


async def test_without_descriptors_it_waits_and_goes_on(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "OUT_OF_RESOURCES_SECONDS", 0.01)
    with Scarce(fileno=listener.dup().detach()) as scarce:
        scarce.failures = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]
        acceptor = Acceptor(scarce, lambda: Greets(b"a"), shared=True)
        assert await greeting(listener) == b"a"
        acceptor.close()
        await acceptor.wait_closed()
    assert caplog.text.count("no connection can be accepted: [Errno 24] Too many open files") == 1


async def test_any_other_failure_is_for_the_loop_to_tell(listener: socket.socket) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    broken = OSError(errno.EIO, "Broken")
    with Scarce(fileno=listener.dup().detach()) as scarce:
        scarce.failures = [broken]
        acceptor = Acceptor(scarce, lambda: Greets(b"a"), shared=True)
        assert await greeting(listener) == b"a"
        acceptor.close()
        await acceptor.wait_closed()
    assert told == [broken]


async def test_one_that_breaks_before_it_begins_harms_no_other(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failures = [OSError("it has gone")]

    def protocol() -> asyncio.Protocol:
        if failures:
            raise failures.pop()
        return Greets(b"a")

    with listener.dup() as own:
        acceptor = Acceptor(own, protocol, shared=False)
        assert await greeting(listener) == b""
        assert await greeting(listener) == b"a"
        acceptor.close()
        await acceptor.wait_closed()
    assert "a connection broke before it began: it has gone" in caplog.text
