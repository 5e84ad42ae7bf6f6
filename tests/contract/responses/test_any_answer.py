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
KINDS = ["content", "refusal", "reasoning_content", "call", "arguments"]
NAMES = ["get_weather", "get_time"]


def made_up(seed: int) -> Answer:
    """Text, refusals, thoughts and calls in any order, calls interleaved, in chunks that hold one or more of them."""
    random = Random(seed)
    steps: list[Step] = []
    open_calls: list[int] = []
    calls = 0
    for _ in range(random.randint(0, 12)):
        fields: dict[str, object] = {}
        for kind in random.sample(KINDS, random.randint(1, 2)):
            if kind == "call":
                function = {"name": random.choice(NAMES), "arguments": random.choice(["", '{"a":'])}
                call = {"index": calls, "type": "function", "function": function}
                fields["tool_calls"] = [call | ({"id": f"call_{seed}_{calls}"} if random.random() < 0.8 else {})]
                open_calls.append(calls)
                calls += 1
            elif kind == "arguments" and open_calls and "tool_calls" not in fields:
                more = {"arguments": random.choice(["1}", "{}", " "])}
                fields["tool_calls"] = [{"index": random.choice(open_calls), "function": more}]
            elif kind not in {"call", "arguments"}:
                fields[kind] = random.choice(["", "a", "b ", "é", "\n", "👩‍👩‍👧"])
        steps.append(delta(**fields))
    steps.append(finish(random.choice(["stop", "stop", "tool_calls", "length", "content_filter", "unheard_of"])))
    return Answer(tuple(steps), usage=random.random() < 0.5, done=random.random() < 0.8)


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
