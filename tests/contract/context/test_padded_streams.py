"""Streams whose deltas are padded, so that their sizes tell nothing of the text."""

from __future__ import annotations

import httpx2
import pytest
from openai import OpenAI

from harness.answers import refused
from harness.background import begin_stream, followed
from harness.event_stream import JsonObject
from harness.turns import TIME, WEATHER, post, stream
from scripted_model import ScriptedModel
from scripted_model.answers import text

PADDED = {"include_obfuscation": True}


def deltas(events: list[JsonObject]) -> list[JsonObject]:
    """The events that carry a delta."""
    return [event for event in events if "delta" in event]


@pytest.mark.parametrize("mode", ["echo", "reasoning", "refusal", "parallel-tools"])
def test_deltas_and_padding_fill_blocks(http: httpx2.Client, mode: str) -> None:
    told = stream(http, mode, "Words of any length", stream_options=PADDED, tools=[WEATHER, TIME])
    padded = deltas(list(told.events))
    assert padded
    assert {(len(event["delta"]) + len(event["obfuscation"])) % 16 for event in padded} == {0}
    assert not [event for event in told.events if "obfuscation" in event and "delta" not in event]


def test_padding_is_never_the_same(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    model.script(text(*["ab"] * 20), tag=tag)
    told = stream(http, "scripted", f"tag={tag}", stream_options=PADDED)
    assert len({event["obfuscation"] for event in deltas(list(told.events))}) == 20


@pytest.mark.parametrize("options", [None, {}, {"include_obfuscation": False}, {"include_obfuscation": None}])
def test_nothing_is_padded_unless_asked_for(http: httpx2.Client, options: JsonObject | None) -> None:
    told = stream(http, stream_options=options)
    assert not [event for event in told.events if "obfuscation" in event]


def test_a_stream_in_the_background_is_padded_as_it_was_asked_for(http: httpx2.Client) -> None:
    response_id = begin_stream(http, stream_options=PADDED)
    assert all("obfuscation" in event for event in deltas(list(followed(http, response_id).events)))


@pytest.mark.parametrize(
    ("options", "code", "param"),
    [
        ({"include_usage": True}, "unknown_parameter", "stream_options.include_usage"),
        ({"include_obfuscation": "yes"}, "invalid_type", "stream_options.include_obfuscation"),
        ("yes", "invalid_type", "stream_options"),
    ],
    ids=str,
)
def test_options_that_are_wrong_are_refused(http: httpx2.Client, options: object, code: str, param: str) -> None:
    refused(post(http, stream=True, stream_options=options), 400, code, param)


def test_the_official_client_reads_a_padded_stream(client: OpenAI) -> None:
    with client.responses.create(
        model="echo", input="Hello", stream=True, stream_options={"include_obfuscation": True}
    ) as events:
        texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(texts) == "seen=1 last=Hello"
