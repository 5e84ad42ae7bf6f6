"""The official client for Node.js, in scripts as its users write them (``node/openai-*.mjs``)."""

from __future__ import annotations

import pytest

from harness.event_stream import check_stream
from harness.tools import script
from harness.turns import messages_for
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

pytestmark = pytest.mark.node_clients

TEXT = [
    "output_item.added",
    "content_part.added",
    *["output_text.delta"] * 3,
    "output_text.done",
    "content_part.done",
    "output_item.done",
]


def test_a_stream_is_read_event_by_event_and_through_the_helper(node):
    seen = node("openai-stream.mjs", model="echo", text="Hello there")
    assert seen["types"] == [f"response.{name}" for name in ("created", "in_progress", *TEXT, "completed")]
    assert seen["snapshots"] == ["seen=1 ", "seen=1 last=Hello ", "seen=1 last=Hello there"]
    assert seen["text"] == seen["stored"] == seen["snapshots"][-1]


def test_a_streamed_answer_that_was_cut_off_says_so(node):
    seen = node("openai-stream.mjs", model="length", text="A story")
    assert seen["types"][-1] == "response.incomplete"
    assert (seen["status"], seen["text"]) == ("incomplete", "Once upon ")


@pytest.mark.parametrize("model_name", ["tool", "parallel-tools", "text-and-tool", "reasoning-tool"])
def test_a_streamed_tool_loop_ends_in_words(node, model_name):
    seen = node("openai-tools.mjs", model=model_name)
    assert seen["cities"] == (["Paris", "Rome"] if model_name == "parallel-tools" else ["Paris"])
    assert seen["text"] == "The tools said: " + " | ".join(f"sunny in {city}" for city in seen["cities"])


def test_a_long_conversation_is_paged_through_answered_corrected_and_removed(node):
    seen = node("openai-conversation.mjs", count=45)
    wanted = [*(str(number) for number in range(45)), "How many?", "seen=46 last=How many?"]
    assert seen.pop("oldestFirst") == wanted
    assert seen.pop("newestFirst") == wanted[::-1]
    assert seen.pop("context") == wanted[:-1]
    assert seen == {
        "answer": wanted[-1],
        "lastIsTheAnswers": True,
        "left": 46,
        "metadata": {"topic": "counting"},
        "deleted": True,
        "gone": True,
    }


def test_structured_output_is_parsed_whole_and_from_a_stream(node):
    place = {"city": "Paris", "n": 1}
    assert node("openai-structured.mjs") == {"parsed": place, "streamed": place}


def test_a_chain_is_continued_and_its_items_are_referred_to(node, model: ScriptedModel, tag):
    seen = node("openai-chain.mjs", tag=tag)
    assert (seen["first"], seen["second"]) == ("42", "seen=3 last=Two")
    assert [message["content"] for message in messages_for(model, tag)] == ["42", f"Three tag={tag}"]


def test_a_response_in_the_background_is_left_taken_up_again_and_cancelled(node):
    seen = node("openai-background.mjs", text="Hello there")
    assert check_stream(seen.pop("events"))["status"] == "completed"
    assert seen == {"helped": "seen=1 last=Hello there", "polled": "seen=1 last=Hello there", "cancelled": "cancelled"}


def test_tools_of_a_server_are_run_there_once_the_user_agrees(node, model: ScriptedModel, mcp_server: ScriptedMcp, tag):
    said = script(model, tag, [("add", {"a": 2, "b": 3})], "It is 5.")
    seen = node("openai-server-tools.mjs", url=mcp_server.url(tag=tag), text=said)
    assert seen.pop("types")[-1] == "response.mcp_call.completed"
    assert seen.pop("tokens") > 0
    assert seen == {
        "asked": "add",
        "call": "5",
        "text": "It is 5.",
        "context": ["mcp_approval_response", "mcp_approval_request", "mcp_list_tools", "message"],
    }


def test_errors_are_of_the_clients_own_kinds(node):
    seen = node("openai-errors.mjs")
    kinds = {name: (error["kind"], error.get("status")) for name, error in seen.items()}
    assert kinds == {
        "unknownConversation": ("NotFoundError", 404),
        "unknownModel": ("BadRequestError", 400),
        "rateLimit": ("RateLimitError", 429),
        "midStream": ("APIError", None),
    }
    assert seen["unknownModel"]["code"] == "model_not_found"
    assert "The GPU is gone." in seen["midStream"]["message"]
    assert all(error["hasRequestId"] for error in seen.values())
