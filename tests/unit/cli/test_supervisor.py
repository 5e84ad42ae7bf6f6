"""Supervisor and workers where the machine, or the other side, does not do its part."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import cast

import pytest

from llama_conversations.cli import worker
from llama_conversations.cli.supervisor import Supervisor, WorkerFailed
from llama_conversations.cli.worker_channel import MEND, Channel, Failed, Serving
from llama_conversations.config import load_run_config
from llama_conversations.errors import StorageUnavailable
from llama_conversations.stack.stack import Stack


async def pair() -> tuple[Channel, Channel]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    first, second = ends
    return await Channel.over(first), await Channel.over(second)


async def close(*channels: Channel) -> None:
    for channel in channels:
        channel.writer.close()
        await channel.writer.wait_closed()


async def test_where_no_process_is_to_be_had_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor(load_run_config({"server": {"workers": 2}}, {}), listener, lambda _: None)
        with pytest.raises(WorkerFailed, match="cannot be started: no more processes"):
            await supervisor.run()
        assert listener.fileno() == -1


async def test_what_a_worker_tells_is_read_and_an_end_without_a_word_is_nothing() -> None:
    ours, theirs = await pair()
    theirs.send(Serving(["one", "two"]))
    assert await ours.told() == Serving(["one", "two"])
    theirs.send(Failed("why"))
    assert await ours.told() == Failed("why")
    theirs.writer.write(b'{"lines": [')
    await close(theirs)
    assert await ours.told() is None
    await close(ours)


async def test_a_worker_whose_supervisor_is_gone_before_it_began_does_not_begin() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.setblocking(False)
    assert await worker.work(theirs) == worker.FAILED


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a worker raises for itself: signals, and the seconds of alarms before them."""
    raised: list[object] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monkeypatch.setattr(signal, "setitimer", lambda _, seconds: raised.append(seconds))
    return raised


async def test_a_worker_mends_what_the_dead_have_left_however_often_that_fails() -> None:
    tried: asyncio.Queue[None] = asyncio.Queue()

    class Broken:
        async def mend(self) -> None:
            tried.put_nowait(None)
            raise StorageUnavailable("away")

    ours, theirs = await pair()
    died = asyncio.Event()
    tasks = [
        asyncio.create_task(worker._listen_to(theirs, died, 1)),
        asyncio.create_task(worker._mend_after(died, cast("Stack", Broken()))),
    ]
    for _ in range(2):
        ours.writer.write(b"something else\n" + MEND)
        await tried.get()
    for task in tasks:
        task.cancel()
    await close(ours, theirs)


async def test_a_worker_ends_with_its_supervisor_and_is_killed_where_it_cannot(signals: list[object]) -> None:
    ours, theirs = await pair()
    died = asyncio.Event()
    ours.writer.write(MEND)
    await close(ours)
    await worker._listen_to(theirs, died, 40)
    assert died.is_set()
    assert signals == [40, signal.SIGTERM]
    await close(theirs)


async def test_a_worker_ends_with_a_supervisor_that_was_killed_before_it_had_read_all(signals: list[object]) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    channel = await Channel.over(theirs)
    channel.send(Serving(["unread"]))
    assert ours.recv(1, socket.MSG_PEEK)  # it has arrived, and the kernel answers the other side with a reset
    ours.close()
    await worker._listen_to(channel, asyncio.Event(), 40)
    assert signals == [40, signal.SIGTERM]
    channel.writer.close()
