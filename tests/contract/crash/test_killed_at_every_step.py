"""Processes that are killed at a chosen step of a turn: what was committed is whole, what was not has left nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.answers import ok
from harness.background import follow, settled
from harness.conversations import create, items_of, texts_of, user
from harness.forked import ForkedProcess
from harness.server import StackServer, scripted_config
from harness.tools import mcp, script
from harness.turns import text_of, turn
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

DIED = {"code": "server_error", "message": "The server stopped before the turn had ended."}

TAKE_TURNS_AND_DIE = """
import asyncio, json, os, signal, sys
import httpx2
from llama_conversations.library import asgi_app
from llama_conversations.server.in_process import InProcessTransport
from llama_conversations.services.responses.chat_wire import ChatWire
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.stack.stack import Stack
from llama_conversations.storage.sql_jobs import SqlJobStore
from llama_conversations.storage.sql_responses import SqlResponseStore

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def after(owner, name):
    original = getattr(owner, name)
    async def work(*arguments):
        done = await original(*arguments)
        if name != "take" or done is not None:
            die()
    setattr(owner, name, work)

async def tools_then_die(toolbox, calls, limit, run=Toolbox.run):
    async for event in run(toolbox, calls, limit):
        yield event
    if calls:
        die()

def arrange(step):
    match step:
        case "after the claim": after(SqlResponseStore, "claim")
        case "before the model is asked": ChatWire.ask = die
        case "between two rounds": Toolbox.run = tools_then_die
        case "before the commit": SqlResponseStore.commit = die
        case "after the commit": after(SqlResponseStore, "commit")
        case "after it was taken up": after(SqlJobStore, "take")
        case "after events were kept": after(SqlJobStore, "add_events")
        case "after it was queued": after(SqlJobStore, "enqueue")

async def take(run_yaml, body):
    async with Stack.from_config(run_yaml) as stack:
        transport = InProcessTransport(asgi_app(stack))
        async with httpx2.AsyncClient(transport=transport, base_url="http://stack.in-process/v1") as http:
            await http.post("/responses", json=body)
            await asyncio.Event().wait()  # a turn in the background dies by itself

run_yaml, turns = sys.argv[1:]
for step, body in json.loads(turns):
    child = os.fork()  # all that is imported is there already
    if child == 0:
        arrange(step)
        asyncio.run(take(run_yaml, body))
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (step, status)
"""

LOST = ["after the claim", "before the model is asked", "between two rounds", "before the commit"]
KEPT = "after the commit"
TAKEN = ["after it was taken up", "after events were kept"]
QUEUED = "after it was queued"
"""The last of all: whatever process starts behind it takes up what it left."""


def take_turns_and_die(directory: Path, turns: list[tuple[str, dict[str, Any]]]) -> Sequence[int]:
    """A process for each turn, one after the other, that is killed at a step of it; the processes' ids."""
    arguments = ["-c", str(directory / "run.yaml"), json.dumps(turns)]
    said, code = ForkedProcess(TAKE_TURNS_AND_DIE, arguments, directory).finish(100)
    assert code == 0
    return [int(line) for line in said.split()]


def turn_of(step: str, conversation_id: str, gate: str) -> dict[str, Any]:
    """What is asked for."""
    background = step in (*TAKEN, QUEUED)
    asked = {"model": "echo", "input": "Hello", "conversation": conversation_id, "metadata": {"step": step}}
    if step == "after events were kept":
        asked |= {"model": "slow", "input": f"gate={gate}"}  # a quick turn keeps its events with its end
    return asked | {"background": background, "stream": step in TAKEN}


def test_a_turn_is_whole_or_has_left_nothing_whatever_it_was_killed_at(
    new_server: Any, model: ScriptedModel, tmp_path: Path, tag: str
) -> None:
    directory = tmp_path / "state"
    runtime = {"provider_id": "mcp", "provider_type": "inline::mcp", "config": {"policy": {"allow": ["127.0.0.1"]}}}
    inference = scripted_config(tmp_path, model.base_url)["providers"]["inference"]
    server: StackServer = new_server(directory, providers={"inference": inference, "tool_runtime": [runtime]}).start()
    steps = [*LOST, KEPT, *TAKEN, QUEUED]
    with server.http() as http:
        conversations = {step: create(http, [user("Before")]) for step in steps}
    server.stop()
    turns = {step: turn_of(step, conversation_id, tag) for step, conversation_id in conversations.items()}
    said = script(model, tag, [("add", {"a": 2, "b": 3})], "It is 5.")
    with ScriptedMcp() as tools:
        turns["between two rounds"] |= {"model": "scripted", "input": said, "tools": [mcp(tools.url())]}
        died = take_turns_and_die(directory, list(turns.items()))
    for pid in died if server.after_kill is not None else ():
        server.after_kill(pid)
    server.start()
    with server.http() as http:
        listed = ok(http.get("/responses", params={"limit": 100}))["data"]
        responses = {response["metadata"]["step"]: response for response in listed}
        assert len(listed) == len(responses) == len(steps)
        assert text_of(settled(http, responses[QUEUED]["id"])) == "seen=2 last=Hello"
        assert text_of(responses[KEPT]) == "seen=2 last=Hello"
        for step in (*LOST, *TAKEN):
            assert (responses[step]["status"], responses[step]["error"]) == ("failed", DIED), step
            assert responses[step]["output"] == []
        for step in TAKEN:
            assert follow(http, responses[step]["id"])[-1]["response"] == responses[step]
        for step, conversation_id in conversations.items():
            kept = ["Hello", "seen=2 last=Hello"] if step in (KEPT, QUEUED) else []
            assert texts_of(items_of(http, conversation_id)) == ["Before", *kept], step
            seen = 2 + len(kept)
            assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == f"seen={seen} last=Next"
    assert "Traceback" not in server.log, server.log
