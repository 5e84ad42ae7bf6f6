"""What a deployment holds in the end, read back over HTTP in every way that there is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from durability.operations import JsonObject, Operation
from durability.sending import PATIENCE, Request, Sender
from harness.background import ENDED
from harness.event_stream import check_stream, read_frames

SMALL_PAGE = 7
"""Items on the pages that whole conversations are compared with."""

_SEEN = re.compile(r"seen=(\d+) ")


@dataclass
class Observed:
    """Conversations and responses by id.

    Attributes:
        items: Of each conversation, oldest first.
        probes: Of each conversation, how many items a turn that was taken in the end was given.
        faults: Where the server's answers disagree with each other.
    """

    conversations: dict[str, JsonObject] = field(default_factory=dict)
    items: dict[str, Sequence[JsonObject]] = field(default_factory=dict)
    responses: dict[str, JsonObject] = field(default_factory=dict)
    probes: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


async def observe(sender: Sender, since: int, streamed: Sequence[str]) -> Observed:
    """Read what was made since a time.

    Args:
        since: In seconds since 1970.
        streamed: The ids of streamed jobs, whose events are followed once more.
    """
    seen = Observed()
    await _wait_until_ended(sender, since, seen)
    for conversation in await _newest(sender, "/conversations", since):
        seen.conversations[conversation["id"]] = conversation
    for some in _batches(sorted(seen.conversations)):
        await asyncio.gather(*(_read_items(sender, conversation_id, seen) for conversation_id in some))
    for response_id in streamed:
        await _follow(sender, response_id, seen)
    for some in _batches(sorted(seen.conversations)):
        await asyncio.gather(*(_probe(sender, conversation_id, seen) for conversation_id in some))
    return seen


async def _probe(sender: Sender, conversation_id: str, seen: Observed) -> None:
    """Take a turn, which nothing keeps from being taken: nobody else is there any more."""
    turn = Operation(f"probe-{conversation_id}", "turn")
    body = {"model": "echo", "input": "probe", "conversation": conversation_id, "store": False}
    await sender.send(turn, Request("POST", "/responses", body))
    if turn.answer is None:
        seen.faults.append(f"{conversation_id} takes no turn: {turn.statuses[-3:]}")
        return
    found = _SEEN.match(turn.answer["output"][0]["content"][0]["text"])
    assert found is not None, turn.answer
    seen.probes[conversation_id] = int(found[1]) - 1


def _batches(ids: Sequence[str], size: int = 8) -> Sequence[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


async def _wait_until_ended(sender: Sender, since: int, seen: Observed) -> None:
    """Every response ends after a while, without anybody's doing."""
    deadline = time.monotonic() + 2 * PATIENCE
    while True:
        seen.responses = {response["id"]: response for response in await _newest(sender, "/responses", since)}
        left = [one for one, response in seen.responses.items() if response["status"] not in ENDED]
        if not left:
            return
        if time.monotonic() > deadline:
            seen.faults += [f"{one} is still {seen.responses[one]['status']}" for one in left]
            return
        await asyncio.sleep(0.2)


async def _newest(sender: Sender, path: str, since: int) -> list[JsonObject]:
    """A list's entries down to a time."""
    found: list[JsonObject] = []
    cursor: dict[str, object] = {}
    while True:
        page = (await sender.get(path, limit=100, order="desc", **cursor)).json()
        found += [entry for entry in page["data"] if entry["created_at"] >= since]
        if not page["has_more"] or page["data"][-1]["created_at"] < since:
            return found
        cursor = {"after": page["last_id"]}


async def _read_items(sender: Sender, conversation_id: str, seen: Observed) -> None:
    """All items; forwards, backwards and in small pages they must be the same."""
    path = f"/conversations/{conversation_id}"
    items = await _all_items(sender, path, "asc", 100)
    seen.items[conversation_id] = items
    if (await _all_items(sender, path, "desc", 100))[::-1] != items:
        seen.faults.append(f"{conversation_id}: descending is not the reverse of ascending")
    if await _all_items(sender, path, "asc", SMALL_PAGE) != items:
        seen.faults.append(f"{conversation_id}: small pages do not add up to the whole")
    if (await sender.get(path)).json() != seen.conversations[conversation_id]:
        seen.faults.append(f"{conversation_id}: the list shows another conversation than is retrieved")


async def _all_items(sender: Sender, path: str, order: str, limit: int) -> list[JsonObject]:
    found: list[JsonObject] = []
    cursor: dict[str, object] = {}
    while True:
        page: Any = (await sender.get(f"{path}/items", limit=limit, order=order, **cursor)).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = {"after": page["last_id"]}


async def _follow(sender: Sender, response_id: str, seen: Observed) -> None:
    """The events of a job, told once more: a whole stream that ends in what is stored."""
    answer = await sender.get(f"/responses/{response_id}", stream="true")
    if answer.status_code != 200:
        seen.faults.append(f"{response_id} cannot be followed: {answer.text}")
        return
    events, stored = read_frames(answer.content), seen.responses.get(response_id)
    if events[-1].get("response") != stored:
        seen.faults.append(f"{response_id}: its stream ends in something else than is stored")
    try:
        check_stream(events)
    except AssertionError as error:
        if stored is not None and stored["status"] == "completed":
            seen.faults.append(f"{response_id}: its stream is none: {error}")
