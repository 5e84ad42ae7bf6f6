"""A round: clients and kills for a while, then everything is read back and compared with what the clients know."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2

from durability.checks import SHARED, Violation, check
from durability.clients import Client, Talk
from durability.deployment import Deployment
from durability.disturbances import Disturber
from durability.observed import observe
from durability.operations import Operation
from durability.report import Report
from durability.sending import Sender

TIMEOUT = 30.0


@dataclass(frozen=True)
class Plan:
    """What a round is.

    Attributes:
        seed: The same seed gives the same operations and kills, as far as the time that they take allows.
        kills: The round goes on until there were so many.
    """

    seed: int
    seconds: float
    clients: int
    kills: int


async def play(deployment: Deployment, plan: Plan) -> Report:
    """Play a round on servers that are up, and are up afterwards."""
    since = int(time.time()) + 1
    await asyncio.sleep(since - time.time())  # times of creation are whole seconds: what is older is of no concern
    seed, began = str(plan.seed), time.monotonic()
    disturber = Disturber(deployment, seed)
    async with AsyncExitStack() as opened:
        https = [await opened.enter_async_context(_http()) for _ in range(plan.clients + 1)]
        first = Client(f"{SHARED}{seed}", seed, https[0], deployment)
        shared = [_talk(await first.step("create")) for _ in range(2)]
        clients = [Client(f"r{seed}c{n}", seed, http, deployment, shared) for n, http in enumerate(https[1:])]
        await _disturb(clients, disturber, plan)
        log = [operation for client in (first, *clients) for operation in client.log]
        sender = Sender(https[0], deployment, random.Random(f"{seed} checks"))
        seen = await observe(sender, since, [op.answer["id"] for op in log if op.kind == "streamed job" and op.answer])
    violations = check(log, seen) + [Violation("servers end well", fault) for fault in deployment.faults()]
    seconds = time.monotonic() - began
    return Report(plan.seed, seconds, log, disturber.counts, disturber.kills, violations)


def _http() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=TIMEOUT)


def _talk(create: Operation) -> Talk:
    assert create.conversation is not None, create
    return Talk(create.conversation, create.marker)


async def _disturb(clients: Sequence[Client], disturber: Disturber, plan: Plan) -> None:
    undisturbed = asyncio.Event()
    talking = [asyncio.create_task(client.run(undisturbed)) for client in clients]
    try:
        await disturber.run(plan.seconds, plan.kills)
    finally:
        undisturbed.set()
        await asyncio.gather(*talking)
