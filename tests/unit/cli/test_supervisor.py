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


async def test_a_worker_goes_on_when_mending_fails_and_ends_with_its_supervisor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        mended = 0

        async def mend(self) -> None:
            self.mended += 1
            raise StorageUnavailable("away")

    signals: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", signals.append)
    ours, theirs = await pair()
    stack = Broken()
    obeying = asyncio.create_task(worker._obey(theirs, cast("Stack", stack)))
    ours.writer.write(MEND + b"something else\n" + MEND)
    await close(ours)
    await obeying
    assert (stack.mended, signals) == (2, [signal.SIGTERM])
    await close(theirs)
