"""Vercel's AI SDK with ``@ai-sdk/openai``, in scripts as its users write them (``node/ai-*.mjs``)."""

from __future__ import annotations

import json

import pytest

from harness.tools import script
from harness.turns import messages_for, sent
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

pytestmark = pytest.mark.node_clients


def test_text_is_generated_and_streamed(node):
    seen = node("ai-text.mjs", model="echo", text="Hello there", instructions="Be brief.")
    assert seen["text"] == "".join(seen["pieces"]) == "seen=2 last=Hello there"
    assert len(seen["pieces"]) == 3
    assert (seen["finishReason"], seen["streamedFinishReason"]) == ("stop", "stop")
    assert seen["tokens"] > 0
    assert seen["warnings"] == []


def test_reasoning_is_told_apart_from_text(node):
    seen = node("ai-text.mjs", model="reasoning", text="Think.")
    assert seen["reasoning"] == seen["streamedReasoning"] == "Let me think."
    assert seen["text"] == "".join(seen["pieces"]) == "42"


@pytest.mark.parametrize(
    ("model_name", "text", "reason"),
    [("length", "Once upon ", "length"), ("refusal", "I'm sorry, I can't help with that.", "content-filter")],
)
def test_it_is_told_why_an_answer_ended(node, model_name, text, reason):
    seen = node("ai-text.mjs", model=model_name, text="Hello")
    assert (seen["text"], seen["finishReason"], seen["streamedFinishReason"]) == (text, reason, reason)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model_name", ["tool", "parallel-tools", "text-and-tool", "reasoning-tool"])
def test_a_chat_goes_on_after_a_tool_loop_by_references_to_its_items(
    node, model: ScriptedModel, tag, model_name, streamed
):
    seen = node("ai-tools.mjs", model=model_name, streamed=streamed, store=True, tag=tag)
    assert seen["cities"] == (["Paris", "Rome"] if model_name == "parallel-tools" else ["Paris"])
    assert seen["text"] == "The tools said: " + " | ".join(f"sunny in {city}" for city in seen["cities"])
    assert seen["references"] >= 1
    _check_history(messages_for(model, tag), seen)


@pytest.mark.parametrize("model_name", ["parallel-tools", "text-and-tool"])
def test_a_chat_goes_on_after_a_tool_loop_where_nothing_is_stored(node, model: ScriptedModel, tag, model_name):
    seen = node("ai-tools.mjs", model=model_name, streamed=False, store=False, tag=tag)
    assert seen["references"] == 0
    _check_history(messages_for(model, tag), seen)


def _check_history(messages, seen):
    outputs = [f"sunny in {city}" for city in seen["cities"]]
    assert [message["role"] for message in messages] == [
        "user", "assistant", *["tool"] * len(outputs), "assistant", "user",
    ]  # fmt: skip
    called = [json.loads(call["function"]["arguments"]) for call in messages[1]["tool_calls"]]
    assert called == [{"city": city} for city in seen["cities"]]
    assert [message["content"] for message in messages[2:-2]] == outputs
    assert messages[-2]["content"] == seen["text"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_that_the_server_runs_is_executed_by_the_provider(
    node, model: ScriptedModel, mcp_server: ScriptedMcp, tag, streamed
):
    said = script(model, tag, [("add", {"a": 2, "b": 3})], "It is 5.")
    seen = node("ai-server-tools.mjs", url=mcp_server.url(tag=tag), text=said, tag=tag, streamed=streamed)
    assert (seen["text"], seen["outputs"], seen["executed"]) == ("It is 5.", ["5"], [True])
    messages = messages_for(model, f"{tag}-2")
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[2]["content"] == "5"
    assert len(mcp_server.requests(tag, "tools/call")) == 1


def test_the_server_keeps_the_state_of_a_chat(node):
    assert node("ai-state.mjs") == {
        "chained": ["seen=1 last=One", "seen=3 last=Two"],
        "kept": ["seen=1 last=Three", "seen=3 last=Four"],
    }


def test_structured_output_is_parsed_whole_and_as_it_grows(node, model: ScriptedModel, tag):
    place = {"city": "Paris", "n": 1}
    seen = node("ai-structured.mjs", tag=tag)
    assert seen["whole"] == seen["streamed"] == seen["grown"][-1] == place
    assert {"city": "Paris"} in seen["grown"]
    formats = [request.body["response_format"] for request in sent(model, tag, 2)]
    assert [one["type"] for one in formats] == ["json_schema", "json_schema"]
    assert formats[0]["json_schema"]["schema"]["properties"].keys() == place.keys()


def test_errors_say_whether_a_retry_helps(node):
    seen = node("ai-errors.mjs")
    assert seen["refused"] == {
        "name": "AI_APICallError",
        "status": 400,
        "message": "Invalid 'temperature': too hot.",
        "retryable": False,
    }
    assert (seen["unknown"]["status"], seen["unknown"]["retryable"]) == (400, False)
    assert (seen["limited"]["status"], seen["limited"]["retryable"]) == (429, True)
    [error] = seen["errors"]
    assert "The GPU is gone." in error
