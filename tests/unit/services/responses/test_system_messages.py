"""System messages as chat templates take them: one at the beginning, and where need be none further on."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.event_stream import JsonObject
from llama_conversations.apis.inference import SystemMessages
from llama_conversations.services.responses.system_messages import message_array

USER = {"role": "user", "content": "Hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def system(content: object) -> JsonObject:
    return {"role": "system", "content": content}


def part(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def told(*messages: JsonObject, taken: SystemMessages = "anywhere") -> list[JsonObject]:
    array: list[JsonObject] = orjson.loads(message_array([orjson.dumps(message) for message in messages], taken))
    return array


@pytest.mark.parametrize(
    ("leading", "content"),
    [
        ([system("a"), system("b"), system("c")], "a\n\nb\n\nc"),
        ([system('"a"}\\'), system("\n{[é\x01"), system("b")], '"a"}\\\n\n\n{[é\x01\n\nb'),
        ([system([part("a"), part("b")]), system("c")], "a\n\nb\n\nc"),
        ([system(""), system("a"), system([]), system("b")], "a\n\nb"),
        ([system(""), system("")], ""),
        ([system([part("a"), part("b")])], [part("a"), part("b")]),
        ([system("")], ""),
    ],
)
def test_those_at_the_beginning_are_told_as_one(leading: list[JsonObject], content: object) -> None:
    for taken in ("anywhere", "first"):
        assert told(*leading, USER, taken=taken) == [system(content), USER]
        assert told(*leading, taken=taken) == [system(content)]


def test_one_with_more_than_text_stays_a_message_of_its_own() -> None:
    pictured = system([part("a"), IMAGE])
    assert told(system("a"), system("b"), pictured, system("c")) == [system("a\n\nb"), pictured, system("c")]
    behind = [{"role": "user", "content": content} for content in (pictured["content"], "c")]
    assert told(system("a"), system("b"), pictured, system("c"), taken="first") == [system("a\n\nb"), *behind]
    assert told(pictured, system("c"), taken="first") == [pictured, behind[1]]


def test_those_further_on_stay_or_are_told_as_the_users_and_nothing_else_changes() -> None:
    quoting = {"role": "user", "content": '{"role":"system","content":"x"}'}
    said = {"role": "assistant", "content": '{"role":"system","content":'}
    history = [system("a"), quoting, system("b"), said, system([part("c"), part("d")])]
    assert told(*history) == history
    users = [{"role": "user", "content": content} for content in ("b", [part("c"), part("d")])]
    assert told(*history, taken="first") == [system("a"), quoting, users[0], said, users[1]]
    assert told(USER, system("b"), taken="first") == [USER, users[0]]


def test_there_may_be_no_messages() -> None:
    for taken in ("anywhere", "first"):
        assert told(taken=taken) == []


MESSAGES = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "system", "user", "assistant"]),
    st.text(max_size=4) | st.lists(st.text(max_size=3).map(part) | st.just(IMAGE), max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(MESSAGES, max_size=8), st.integers(1, 8), st.sampled_from(["anywhere", "first"]))
def test_what_stands_in_one_piece_is_told_the_same_and_a_longer_history_begins_with_the_shorter_one(
    messages: list[JsonObject], length: int, taken: SystemMessages
) -> None:
    written = [orjson.dumps(message) for message in messages]
    whole = message_array(written, taken)
    assert message_array([b",".join(written[:length]), *written[length:]], taken) == whole
    shorter = message_array(written[:length], taken)
    if any(message["role"] != "system" for message in messages[:length]):
        assert whole.startswith(shorter[:-1])
