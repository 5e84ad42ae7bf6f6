"""What must be finished although one is being cancelled."""

from __future__ import annotations

import asyncio
import gc

import pytest

from llama_conversations.services.responses.tasks import uninterrupted


async def test_what_it_runs_is_answered_or_raised() -> None:
    async def work(value: int) -> int:
        return 1 // value

    assert await uninterrupted(work(1)) == 1
    with pytest.raises(ZeroDivisionError):
        await uninterrupted(work(0))


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancellation_waits_for_the_end_of_the_work_and_is_raised_then(fails: bool) -> None:
    begun, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def work() -> None:
        begun.set()
        await gate.wait()
        ended.set()
        if fails:
            raise ZeroDivisionError

    task = asyncio.create_task(uninterrupted(work()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    del task
    gc.collect()
    assert complaints == []
