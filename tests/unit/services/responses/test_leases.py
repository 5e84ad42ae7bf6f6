"""Leases are kept while turns run and swept when their process died, whatever fails on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llama_conversations.access import DEFAULT_SCOPE
from llama_conversations.errors import StackError, StorageUnavailable
from llama_conversations.services.responses.leases import LeaseKeeper
from llama_conversations.services.responses.service import TurnSettings
from unit.services.responses.support import ANSWER, Desk, open_desk
from unit.storage.support import claim_of, response, write_lock_held

NEVER = 3600.0
OFTEN = 0.001


async def test_what_a_crash_left_is_mended_before_anybody_is_served(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        conversation_id = await desk.conversation()
        left = response(conversation_id=conversation_id, head='{"id":"r","status":"in_progress","error":null}')
        await desk.storage.responses.claim(DEFAULT_SCOPE, claim_of(left))
        desk.expire_leases()
    async with open_desk(tmp_path) as desk:
        [found] = await desk.responses()
        assert found["status"] == "failed"
        assert found["error"] == {
            "code": "server_error",
            "message": "The server stopped before the turn had ended.",
        }
        assert await desk.unlocked(conversation_id)


async def test_the_lease_of_a_turn_that_runs_is_renewed_until_it_ends(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        conversation_id, gate = await desk.conversation(), asyncio.Event()
        desk.model.script = [gate.wait, *ANSWER]
        frames = await desk.frames(conversation=conversation_id)
        await anext(frames)
        desk.expire_leases()
        await desk.sweep()
        assert not await desk.unlocked(conversation_id)
        gate.set()
        assert [frame async for frame in frames]
        assert [found["status"] for found in await desk.responses()] == ["completed"]


async def test_a_lease_that_no_running_turn_holds_is_let_run_out(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    leaked = response(conversation_id=conversation_id, head="{}")
    await desk.storage.responses.claim(DEFAULT_SCOPE, claim_of(leaked))
    desk.expire_leases()
    await desk.sweep()
    assert await desk.unlocked(conversation_id)


@pytest.mark.parametrize(("failure", "told_each_time"), [(StorageUnavailable, False), (ValueError, True)])
async def test_a_failure_to_keep_leases_is_logged_and_the_next_time_is_another_try(
    desk: Desk, failure: type[Exception], told_each_time: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tries, enough = 0, asyncio.Event()

    async def fail(*_: object) -> None:
        nonlocal tries
        tries += 1
        if tries > 3:
            enough.set()
        raise failure("the reason")

    desk.storage.responses.renew_leases = fail  # type: ignore[method-assign]
    keeper = LeaseKeeper(desk.storage.responses, lambda: ["resp_1"], OFTEN * 3, NEVER)
    await keeper.start()
    await asyncio.wait_for(enough.wait(), 20)
    await keeper.stop()
    assert caplog.text.count("keeping leases failed") == (tries if told_each_time else 1)


async def test_sweeps_go_on_for_as_long_as_the_service_runs(desk: Desk) -> None:
    swept, enough = 0, asyncio.Event()

    async def sweep(_: object) -> list[str]:
        nonlocal swept
        swept += 1
        if swept > 3:
            enough.set()
        return []

    desk.storage.responses.sweep = sweep  # type: ignore[method-assign, assignment]
    keeper = LeaseKeeper(desk.storage.responses, list, NEVER, OFTEN)
    await keeper.start()
    await asyncio.wait_for(enough.wait(), 20)
    await keeper.stop()
    after = swept
    await keeper.stop()
    assert swept == after


async def test_a_start_fails_where_the_database_does(tmp_path: Path) -> None:
    async with open_desk(tmp_path, busy_timeout_seconds=0.05) as desk:
        await desk.storage.responses.claim(DEFAULT_SCOPE, claim_of(response()))
        keeper = LeaseKeeper(desk.storage.responses, list, NEVER, NEVER)
        with write_lock_held(desk.path), pytest.raises(StackError):
            await keeper.start()
        await keeper.stop()


async def test_where_nothing_runs_nothing_is_renewed(desk: Desk) -> None:
    desk.storage.responses.renew_leases = None  # type: ignore[method-assign, assignment]
    await desk.service._leases._renew()


def test_a_lease_outlives_two_renewals_that_fail() -> None:
    settings = TurnSettings()
    keeper = LeaseKeeper(None, list, settings.lease_seconds, settings.sweep_seconds)  # type: ignore[arg-type]
    assert keeper._renewal * 3 <= settings.lease_seconds
