"""Items as chat messages: complete pairs, strict order, and bytes that a model server's prefix cache knows again."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.event_stream import JsonObject
from llama_conversations.errors import InvalidParameter, UnsupportedParameter
from llama_conversations.services.responses.chat_messages import chat_messages
from llama_conversations.services.responses.chat_parts import Speech
from llama_conversations.wire.items import INPUT_ITEM, Item


def items(*written: JsonObject) -> list[Item]:
    return [INPUT_ITEM.validate_python(fields) for fields in written]  # type: ignore[misc]


def messages(*written: JsonObject, instructions: str | None = None) -> list[JsonObject]:
    preamble = [] if instructions is None else [Speech("system", instructions)]
    return [orjson.loads(message) for message in chat_messages(preamble, items(*written), unseal)]


def unseal(token: str) -> str | None:
    """What this server sealed begins so."""
    return token.removeprefix("sealed:") if token.startswith("sealed:") else None


def say(role: str, *parts: object) -> JsonObject:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": part} if isinstance(part, str) else part for part in parts]
    return {"type": "message", "role": role, "content": content}


def call(call_id: str, name: str = "look", **fields: object) -> JsonObject:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}", **fields}


def output(call_id: str, result: object = "done") -> JsonObject:
    return {"type": "function_call_output", "call_id": call_id, "output": result}


def tool_calls(*call_ids: str, name: str = "look") -> list[JsonObject]:
    function = {"name": name, "arguments": "{}"}
    return [{"id": call_id, "type": "function", "function": function} for call_id in call_ids]


def test_each_role_says_what_it_said_and_developers_speak_as_the_system() -> None:
    written = [say(role, role) for role in ("system", "developer", "user", "assistant", "user")]
    assert messages(*written, instructions="Be kind.") == [
        {"role": "system", "content": "Be kind."},
        {"role": "system", "content": "system"},
        {"role": "system", "content": "developer"},
        {"role": "user", "content": "user"},
        {"role": "assistant", "content": "assistant"},
        {"role": "user", "content": "user"},
    ]


def test_a_message_may_be_a_string() -> None:
    for role in ("user", "assistant"):
        assert messages({"role": role, "content": "hi"}) == [{"role": role, "content": "hi"}]


def test_nothing_said_is_nothing_sent_and_empty_instructions_are_instructions() -> None:
    assert messages() == []
    assert messages(instructions="") == [{"role": "system", "content": ""}]


def test_a_summary_is_told_by_the_system_or_where_no_user_speaks_by_the_user() -> None:
    summary = {"type": "compaction", "encrypted_content": "sealed:short"}
    told = "Summary of the conversation so far:\n\nshort"
    assert messages(summary, say("assistant", "hi")) == [
        {"role": "user", "content": told},
        {"role": "assistant", "content": "hi"},
    ]
    assert messages(say("user", "why?"), summary)[0] == {"role": "system", "content": told}


def test_the_same_text_twice_in_a_row_stays_twice() -> None:
    assert messages(say("user", "hi"), say("user", "hi")) == [{"role": "user", "content": "hi"}] * 2


def test_parts_stay_parts_where_there_is_more_than_one_text() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}
    plain = {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"}
    audio = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
    assert messages(say("user", "a", "b", image, plain, audio)) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            ],
        }
    ]


def test_an_assistants_parts_are_joined_refusals_too() -> None:
    refusal = {"type": "refusal", "refusal": "No."}
    assert messages(say("assistant", "Well, ", refusal)) == [{"role": "assistant", "content": "Well, No."}]
    assert messages(say("assistant")) == [{"role": "assistant", "content": ""}]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "summary_text", "text": "a"},
    ],
)
def test_content_that_chat_completions_cannot_carry_is_refused(part: JsonObject) -> None:
    with pytest.raises(UnsupportedParameter) as found:
        messages(say("user", "look", part))
    assert found.value.param == "input"
    with pytest.raises(UnsupportedParameter):
        messages(say("assistant", part))


def test_parallel_calls_share_a_message_with_the_text_before_them() -> None:
    written = [say("user", "q"), say("assistant", "Let me see."), call("a"), call("b"), output("a"), output("b", "2")]
    assert messages(*written) == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": tool_calls("a", "b")},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    ]


def test_a_call_that_follows_an_output_was_made_in_a_later_turn() -> None:
    written = [say("user", "q"), call("a"), output("a"), call("b"), output("b"), say("assistant", "So.")]
    assert messages(*written) == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": tool_calls("a")},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
        {"role": "assistant", "content": None, "tool_calls": tool_calls("b")},
        {"role": "tool", "tool_call_id": "b", "content": "done"},
        {"role": "assistant", "content": "So."},
    ]


@pytest.mark.parametrize(
    "written",
    [
        [call("a"), call("b"), output("b", "B"), output("a", "A"), say("user", "q")],
        [output("b", "B"), call("a"), output("a", "A"), call("b"), say("user", "q")],
        [call("a"), call("b"), say("user", "q"), output("b", "B"), output("a", "A")],
    ],
)
def test_outputs_stand_right_behind_their_calls_wherever_they_stand_among_the_items(written: list[JsonObject]) -> None:
    seen: list[object] = []
    for message in messages(*written):
        if message["role"] == "assistant":
            seen += [(made["id"], "call") for made in message["tool_calls"]]
        elif message["role"] == "tool":
            seen.append((message["tool_call_id"], message["content"]))
    assert seen in (
        [("a", "call"), ("b", "call"), ("a", "A"), ("b", "B")],
        [("a", "call"), ("a", "A"), ("b", "call"), ("b", "B")],
    )
    assert messages(*written)[-1] == {"role": "user", "content": "q"}


def test_the_same_call_id_in_two_turns_finds_its_own_output_each_time() -> None:
    written = [
        call("a"),
        output("a", "first"),
        say("assistant", "So."),
        say("user", "again"),
        call("a"),
        output("a", "2nd"),
    ]
    results = [message["content"] for message in messages(*written) if message["role"] == "tool"]
    assert results == ["first", "2nd"]


def test_an_output_may_be_parts() -> None:
    image = {"type": "input_image", "image_url": "https://x/y.png"}
    texts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert messages(call("a"), output("a", texts))[1]["content"] == "ab"
    assert messages(call("a"), call("b"), output("a", [texts[0], image]), output("b"))[1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "a"},
        {"role": "tool", "tool_call_id": "b", "content": "done"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
    ]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ([call("a")], "No tool output found for function call a."),
        ([call("a"), call("b"), output("a")], "No tool output found for function call b."),
        ([call("a"), say("user", "q"), call("a"), output("a")], "No tool output found for function call a."),
        ([output("a")], "No tool call found for function call output with call_id a."),
        ([call("a"), output("a"), output("a")], "The tool call with call_id a has an output already."),
        ([call("a"), output("a"), output("b")], "No tool call found for function call output with call_id b."),
    ],
)
def test_a_call_without_output_and_an_output_without_call_are_refused(
    written: list[JsonObject], complaint: str
) -> None:
    with pytest.raises(InvalidParameter) as found:
        messages(*written)
    assert (found.value.message, found.value.param, found.value.code) == (complaint, "input", None)


def test_a_call_that_was_cut_off_was_never_made() -> None:
    assert messages(say("user", "q"), call("a", status="incomplete"), say("user", "again")) == [
        {"role": "user", "content": "q"},
        {"role": "user", "content": "again"},
    ]


def test_items_that_a_chat_has_no_place_for_are_left_out_and_part_nothing() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert messages(say("user", "q"), thought, call("a"), thought, call("b"), output("a"), thought, output("b")) == (
        messages(say("user", "q"), call("a"), call("b"), output("a"), output("b"))
    )


texts = st.text(max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> list[list[JsonObject]]:
    """Turns, each as its input items and what the model then said; every call is answered in the next turn's input."""
    turns: list[list[JsonObject]] = []
    unanswered: list[str] = []
    count = draw(st.integers(1, 6))
    for number in range(count):
        given = [output(call_id, draw(texts)) for call_id in draw(st.permutations(unanswered))]
        asked = [say(draw(st.sampled_from(["user", "system", "developer"])), draw(texts))]
        turns.append([*given, *(asked if not given or draw(st.booleans()) else [])])
        said: list[JsonObject] = []
        if draw(st.booleans()):
            said.append({"type": "reasoning", "id": f"rs_{number}", "summary": []})
        if draw(st.booleans()):
            said.append(say("assistant", draw(texts)))
        same = draw(st.booleans())  # some models give the same ids in every turn
        unanswered = [f"call_{0 if same else number}_{n}" for n in range(draw(st.integers(0, 3)))]
        said += [call(call_id) for call_id in unanswered]
        if draw(st.integers(0, 4)) == 0:
            said.append(call("cut", status="incomplete"))
        turns.append(said)
    return turns[:-1]


def flat(turns: Sequence[list[JsonObject]]) -> list[Item]:
    return items(*(item for turn in turns for item in turn))


@settings(max_examples=200, deadline=None)
@given(histories(), st.one_of(st.none(), texts))
def test_what_a_turn_is_given_begins_with_what_the_turn_before_was_given(
    turns: list[list[JsonObject]], instructions: str | None
) -> None:
    before: list[bytes] = []
    preamble = [] if instructions is None else [Speech("system", instructions)]
    for count in range(1, len(turns) + 1, 2):
        now = chat_messages(preamble, flat(turns[:count]), unseal)
        assert now[: len(before)] == before
        assert chat_messages(preamble, flat(turns[:count]), unseal) == now
        before = now


@settings(max_examples=200, deadline=None)
@given(histories())
def test_every_call_is_followed_by_its_outputs_and_nothing_is_lost_or_moved(turns: list[list[JsonObject]]) -> None:
    written = [item for turn in turns for item in turn]
    given_messages = [orjson.loads(message) for message in chat_messages((), items(*written), unseal)]
    waiting: list[str] = []
    for message in given_messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
        else:
            assert waiting == []
            waiting = [made["id"] for made in message.get("tool_calls", ())]
    assert waiting == []
    said = [(m["role"], m["content"]) for m in given_messages if m["role"] != "tool" and m["content"] is not None]
    roles = {"developer": "system"}
    assert said == [
        (roles.get(item["role"], item["role"]), item["content"][0]["text"])
        for item in written
        if item["type"] == "message"
    ]
    results = sorted(str(m["content"]) for m in given_messages if m["role"] == "tool")
    assert results == sorted(item["output"] for item in written if item["type"] == "function_call_output")
