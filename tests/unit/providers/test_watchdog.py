"""The time-out for many short waits."""

from __future__ import annotations

import asyncio

import pytest

from llama_conversations_providers.inference.openai_wire.watchdog import Watchdog

SHORT = 0.01
LONG = 60


class Times:
    """A loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        self.set = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, look: object) -> asyncio.TimerHandle:
        self.set += 1
        handle = asyncio.TimerHandle(when, look, (), asyncio.get_running_loop())
        self.timers.append(handle)
        return handle

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.when() <= self.now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if not timer.cancelled():
                timer._run()


@pytest.fixture
async def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    return Times()


@pytest.fixture
async def dog(times: Times) -> Watchdog:
    watchdog = Watchdog(lambda: None)
    watchdog._loop = times
    return watchdog


async def test_a_wait_that_is_too_long_bites_once(times: Times, dog: Watchdog) -> None:
    dog.watch(10)
    times.advance(9)
    assert not dog.bitten
    times.advance(1)
    assert dog.bitten


async def test_what_happens_between_waits_does_not_count(times: Times, dog: Watchdog) -> None:
    dog.watch(10)
    times.advance(9)
    dog.rest()
    times.advance(100)
    assert not dog.bitten
    dog.watch(10)
    times.advance(9)
    assert not dog.bitten
    times.advance(1)
    assert dog.bitten


async def test_many_waits_need_few_timers(times: Times, dog: Watchdog) -> None:
    for _ in range(1000):
        dog.watch(10)
        times.advance(0.05)
        dog.rest()
    assert times.set <= 6
    assert not dog.bitten


async def test_a_shorter_limit_after_a_longer_one_holds(times: Times, dog: Watchdog) -> None:
    dog.watch(600)
    dog.rest()
    dog.watch(10)
    times.advance(10)
    assert dog.bitten


async def test_without_limit_nothing_bites(times: Times, dog: Watchdog) -> None:
    dog.watch(10)
    dog.rest()
    dog.watch(None)
    times.advance(1000)
    assert not dog.bitten


async def test_after_stop_nothing_bites(times: Times, dog: Watchdog) -> None:
    dog.watch(10)
    dog.stop()
    times.advance(1000)
    assert not dog.bitten


async def test_it_bites_on_a_real_loop() -> None:
    bitten = asyncio.Event()
    Watchdog(bitten.set).watch(SHORT)
    async with asyncio.timeout(LONG):
        await bitten.wait()
