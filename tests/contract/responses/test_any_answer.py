"""Answers made up at random: whatever a model says is told rightly, kept as it was told, and can be sent back."""

from __future__ import annotations

from random import Random

import httpx2
import pytest

from harness.conversations import create, items_of
from harness.turns import TIME, WEATHER, stream, turn
from scripted_model import ScriptedModel, Step
from scripted_model.answers import Answer, delta, finish

ANSWERS = 60
SAID = ["content", "refusal", "reasoning_content"]
KINDS = [*SAID, "calls"]
PIECES = ["", "a", "b ", "é", "\n", "👩‍👩‍👧"]
NAMES = ["get_weather", "get_time"]


def made_up(seed: int) -> Answer:
    """Text, refusals, thoughts and groups of calls in any order; calls of a group are interleaved."""
    random = Random(seed)
    steps: list[Step] = []
    calls = 0
    for _ in range(random.randint(0, 8)):
        kind = random.choice(KINDS)
        if kind != "calls":
            more = {random.choice(SAID): random.choice(PIECES)} if random.random() < 0.3 else {}
            steps.append(delta(**{kind: random.choice(PIECES)} | more))
            continue
        group = [made_up_call(random, calls + number) for number in range(random.randint(1, 3))]
        calls += len(group)
        while any(group):
            first = next(pieces for pieces in group if pieces)
            pieces = random.choice([first, *(pieces for pieces in group if pieces)])
            steps.append(delta(tool_calls=[pieces.pop(0)]))
    steps.append(finish(random.choice(["stop", "stop", "tool_calls", "length", "content_filter", "unheard_of"])))
    return Answer(tuple(steps), usage=random.random() < 0.5, done=random.random() < 0.8)


def made_up_call(random: Random, index: int) -> list[dict[str, object]]:
    """A call's beginning and the pieces of its arguments, some of which may come with the beginning."""
    pieces = random.choice([["{}"], ["{", '"a":', "1}"], ['{"a":"', "}", '"}'], ['{"a": [1', "]}"]])
    head, *rest = pieces if random.random() < 0.5 else ["", *pieces]
    call = {"index": index, "type": "function", "function": {"name": random.choice(NAMES), "arguments": head}}
    named = call | ({"id": f"call_{random.random()}"} if random.random() < 0.8 else {})
    return [named, *({"index": index, "function": {"arguments": piece}} for piece in rest)]


@pytest.mark.parametrize("batch", range(6))
def test_whatever_a_model_says_is_told_kept_and_sent_back(
    http: httpx2.Client, model: ScriptedModel, tag: str, batch: int
) -> None:
    conversation_id = create(http)
    for seed in range(batch, ANSWERS, 6):
        model.script(made_up(seed), tag=tag)
        summary = {"reasoning": {"summary": "auto"}} if seed % 2 else {}
        said = stream(http, "scripted", f"tag={tag}", conversation=conversation_id, tools=[WEATHER, TIME], **summary)
        output = said.response["output"]
        assert items_of(http, conversation_id)[-len(output) :] == output, seed
        outputs = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "x"}
            for item in output
            if item["type"] == "function_call" and item["status"] == "completed"
        ]
        turn(http, "unicode", [*outputs, {"role": "user", "content": "go on"}], conversation=conversation_id)
