"""Deltas become items and events: for any sequence of them the stream is one that every client can read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.event_stream import JsonObject, check_stream
from llama_conversations.errors import UpstreamGarbled
from llama_conversations.services.items import prepare_item
from llama_conversations.services.responses.chat_deltas import (
    Delta,
    Finished,
    PassedEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    read_completion,
)
from llama_conversations.services.responses.engine import RunningTurn
from llama_conversations.services.responses.output import Output
from llama_conversations.wire.events import Event, Forwarded
from llama_conversations.wire.items import INPUT_ITEM
from llama_conversations.wire.responses import Usage
from unit.services.responses.support import (
    PROVIDER,
    USAGE,
    ScriptedModel,
    bare,
    call,
    chunk,
    end,
    shown,
    text,
    turn_of,
    types,
)

BLANKS = set(" \t\r\n")
LOGPROB = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def play(*deltas: Delta) -> tuple[Output, list[Event]]:
    """An output and all its events."""
    output = Output("0" * 8, PROVIDER)
    output.begin_round()
    events = [event for delta in deltas for event in output.add(delta)]
    return output, [*events, *output.end_round()]


def streamed(*chunks: bytes, **fields: object) -> list[JsonObject]:
    """The events of a turn that keeps nothing, for a model that says these chunks."""

    async def stream() -> list[JsonObject]:
        turn = turn_of(ScriptedModel(*chunks), stream=True, store=False, **fields)
        return await shown(RunningTurn(turn, around))

    around = bare()
    return asyncio.run(stream())


def output_of(*chunks: bytes, **fields: object) -> list[JsonObject]:
    """The checked stream's output items."""
    output: list[JsonObject] = check_stream(streamed(*chunks, **fields))["output"]
    return output


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
call_ids = st.sampled_from([None, "call_a", "call_b", "call_c", "call_d"])
names = st.sampled_from([None, "look", "tell"])

deltas = st.one_of(
    st.builds(lambda content: {"content": content}, words),
    st.builds(lambda content: {"refusal": content}, words),
    st.builds(lambda key, content: {key: content}, st.sampled_from(["reasoning", "reasoning_content"]), words),
    st.builds(
        lambda index, call_id, name, arguments: {
            "tool_calls": [{"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}]
        },
        st.integers(0, 2),
        call_ids,
        names,
        st.one_of(st.just(""), words),
    ),
    st.just({"role": "assistant", "content": ""}),
)
reasons = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "function_call", "abort"])


def said(asked: Sequence[JsonObject], key: str) -> str:
    return "".join(str(delta.get(key, "")) for delta in asked)


@settings(deadline=None, max_examples=300)
@given(asked=st.lists(deltas, max_size=25), reason=reasons, summary=st.booleans())
def test_any_sequence_of_deltas_is_a_stream_that_keeps_the_rules_and_loses_nothing(
    asked: list[JsonObject], reason: str, summary: bool
) -> None:
    reasoning = {"reasoning": {"summary": "auto"}} if summary else {}
    events = streamed(*(chunk(**delta) for delta in asked), end(reason), **reasoning)
    response = check_stream(events)
    if response["status"] == "failed":
        assert "answer has a tool call with" in response["error"]["message"]  # no name, or more than its arguments
        assert reason not in ("length", "content_filter")
        return
    assert response["status"] == ("incomplete" if reason in ("length", "content_filter") else "completed")
    output = response["output"]
    parts = [part for item in output for part in item.get("content") or item.get("summary") or ()]
    texts = "".join(part["text"] for part in parts if part["type"] == "output_text")
    assert texts == said(asked, "content")
    assert "".join(part["refusal"] for part in parts if part["type"] == "refusal") == said(asked, "refusal")
    thoughts = "".join(part["text"] for part in parts if part["type"] in ("reasoning_text", "summary_text"))
    assert thoughts == "".join(str(d.get("reasoning") or d.get("reasoning_content") or "") for d in asked)
    arguments = [call["function"]["arguments"] for d in asked for call in d.get("tool_calls", ())]  # type: ignore[attr-defined]
    for item in output:  # a client sends any of it back as it came: it is taken, and stored as it was
        assert orjson.loads(prepare_item(INPUT_ITEM.validate_python(item), "").data) == item
    made = [item["arguments"] for item in output if item["type"] == "function_call"]
    if response["status"] == "completed":
        assert sorted("".join(made)) == sorted("".join(arguments)) or BLANKS.intersection("".join(arguments))


@settings(deadline=None, max_examples=100)
@given(asked=st.lists(deltas, max_size=12), cut=st.integers(0, 12))
def test_a_model_that_fails_anywhere_leaves_a_stream_that_ends_as_failed(asked: list[JsonObject], cut: int) -> None:
    chunks: list[bytes | Exception] = [chunk(**delta) for delta in asked]
    chunks.insert(cut, UpstreamGarbled(PROVIDER, "That was no chunk."))
    events = streamed(*chunks)  # type: ignore[arg-type]
    response = check_stream(events)
    assert (response["status"], response["error"]["message"]) == ("failed", "That was no chunk.")
    assert types(events)[-2:] == ["error", "failed"]


def test_text_comes_in_the_recorded_order() -> None:
    assert types(streamed(text("a"), text("b"), end())) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_thoughts_are_reasoning_text_or_a_summary_as_the_caller_asked() -> None:
    [item, _] = output_of(chunk(reasoning="hm"), text("a"), end())
    assert item == {**item, "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    for asked in ({"summary": "auto"}, {"generate_summary": "concise"}):
        [item, _] = output_of(chunk(reasoning="hm"), text("a"), end(), reasoning=asked)
        assert "content" not in item
        assert item["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_each_new_kind_of_speech_is_an_item_of_its_own_and_a_refusal_is_a_part_of_the_message() -> None:
    output = output_of(
        chunk(reasoning="1"), text("2"), chunk(refusal="3"), text("4"), chunk(reasoning="5"), text("6"), end()
    )
    assert [item["type"] for item in output] == ["reasoning", "message", "reasoning", "message"]
    assert [part["type"] for part in output[1]["content"]] == ["output_text", "refusal", "output_text"]


def test_parallel_calls_may_come_interleaved_and_keep_their_own_arguments() -> None:
    events = streamed(
        call(0, "call_a", "look", '{"x"'),
        call(1, "call_b", "tell"),
        call(0, arguments=":1"),
        call(1, arguments="{}"),
        call(0, arguments="}"),
        end("tool_calls"),
    )
    output = check_stream(events)["output"]
    assert [(i["call_id"], i["name"], i["arguments"], i["status"]) for i in output] == [
        ("call_a", "look", '{"x":1}', "completed"),
        ("call_b", "tell", "{}", "completed"),
    ]
    assert [e["output_index"] for e in events if e["type"] == "response.output_item.done"] == [0, 1]


def test_calls_that_all_have_the_index_0_are_told_apart_by_their_ids_or_their_names() -> None:
    by_id = output_of(call(0, "call_a", "look", "{}"), call(0, "call_b", "look", "[]"), end())
    assert [(item["call_id"], item["arguments"]) for item in by_id] == [("call_a", "{}"), ("call_b", "[]")]
    by_name = output_of(call(0, None, "look", "{}"), call(0, None, "tell", "[]"), end())
    assert [(item["name"], item["arguments"]) for item in by_name] == [("look", "{}"), ("tell", "[]")]
    without_index = output_of(call(None, "call_a", "look", "{}"), call(None, "call_b", "tell", "[]"), end())
    assert [item["name"] for item in without_index] == ["look", "tell"]


def test_a_server_that_repeats_id_and_name_in_every_chunk_makes_one_call() -> None:
    for call_id in ("call_a", None):
        [item] = output_of(call(0, call_id, "look", "{"), call(0, call_id, "look", "}"), end())
        assert item["arguments"] == "{}"


def test_a_server_that_makes_a_new_id_for_every_chunk_makes_one_call() -> None:
    [item] = output_of(call(0, "call_a", "look", "{"), call(0, "call_b", None, "}"), end())
    assert (item["call_id"], item["arguments"]) == ("call_a", "{}")


def test_a_name_that_comes_late_is_the_calls_name_and_nothing_of_the_arguments_is_lost() -> None:
    events = streamed(call(0, "call_a", None, "{"), call(0, None, None, "}"), call(0, None, "look"), end())
    [item] = check_stream(events)["output"]
    assert (item["call_id"], item["name"], item["arguments"]) == ("call_a", "look", "{}")


def test_an_id_that_comes_late_changes_nothing_that_was_shown() -> None:
    for later in (call(0, "call_late"), call(0, "call_late", "look"), call(0, "call_late", "look", "{}")):
        output = output_of(call(0, None, "look"), later, end())
        assert len(output) == 1
        assert output[0]["call_id"].startswith("call_")
        assert output[0]["call_id"] != "call_late"


def test_calls_that_a_server_gives_one_id_are_told_apart_by_ours() -> None:
    output = output_of(
        call(0, "call_a", "look", "{"), call(1, "call_a", "look", "["), call(1, "call_a", "look", "]"), end()
    )
    assert [item["arguments"] for item in output] == ["{", "[]"]
    assert output[0]["call_id"] == "call_a" != output[1]["call_id"]


def test_an_id_that_is_too_long_for_an_output_to_name_is_replaced_by_ours() -> None:
    [item] = output_of(call(0, "call_" + "x" * 500, "look", "{"), call(0, "call_" + "x" * 500, "look", "}"), end())
    assert len(item["call_id"]) <= 64
    assert item["arguments"] == "{}"


def test_a_call_that_never_gets_a_name_is_garbage() -> None:
    response = check_stream(streamed(text("Well,"), call(0, "call_a", None, "{}"), end("tool_calls")))
    assert response["error"] == {
        "code": "server_error",
        "message": "The model server's answer has a tool call without a name.",
    }


def test_a_call_that_was_cut_off_before_its_name_was_never_made() -> None:
    [item] = output_of(text("Well,"), call(0, "call_a", None, "{}"), end("length"))
    assert (item["type"], item["status"]) == ("message", "incomplete")


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("whatever", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_why_the_model_stopped_is_the_responses_status(
    reason: str, status: str, details: dict[str, str] | None
) -> None:
    response = check_stream(streamed(text("a"), end(reason)))
    assert (response["status"], response["incomplete_details"]) == (status, details)
    assert response["output"][0]["status"] == status


def test_a_stream_that_ends_without_a_reason_has_stopped() -> None:
    assert check_stream(streamed(text("a")))["status"] == "completed"


def test_what_was_cut_off_is_the_last_item_alone() -> None:
    output = output_of(text("a"), call(0, "call_a", "look", "{}"), call(1, "call_b", "tell", "{"), end("length"))
    assert [item["status"] for item in output] == ["completed", "completed", "incomplete"]
    thought = output_of(text("a"), chunk(reasoning="hm"), end("length"))
    assert thought[0]["status"] == "completed"
    assert "status" not in thought[1]


@pytest.mark.parametrize(("reason", "status"), [("stop", "completed"), ("length", "incomplete")])
def test_a_model_that_says_nothing_says_one_empty_message(reason: str, status: str) -> None:
    [item] = output_of(end(reason))
    assert (item["type"], item["status"]) == ("message", status)
    assert item["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


def test_usage_is_what_the_model_server_counts_and_null_where_it_does_not() -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 3}
    assert check_stream(streamed(text("a"), end("stop", usage)))["usage"] == {
        "input_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }
    assert check_stream(streamed(text("a"), end()))["usage"] is None


def test_logprobs_are_told_with_their_delta_and_gathered_in_the_part() -> None:
    logprobs = {"content": [LOGPROB]}
    chunks = [
        orjson.dumps({"choices": [{"delta": {"content": letter}, "logprobs": logprobs}]}) for letter in ("a", "b")
    ]
    [item] = output_of(*chunks, end())
    assert item["content"][0]["logprobs"] == [LOGPROB, LOGPROB]


def test_items_can_be_looked_at_before_they_are_whole() -> None:
    output = Output("0" * 8, PROVIDER)
    output.begin_round()
    for delta in (TextDelta("a"), ToolCallDelta(0, "call_a", "look", "{")):
        list(output.add(delta))
    assert [item["status"] for item in output.items] == ["completed", "in_progress"]


def test_the_outputs_ids_belong_to_the_turns_partition() -> None:
    output, _ = play(
        ReasoningDelta("a"), TextDelta("b"), RefusalDelta("c"), ToolCallDelta(0, None, "d", ""), Finished("stop")
    )
    prefixes = [str(item["id"]).partition("_") for item in output.items]
    assert [prefix for prefix, _, _ in prefixes] == ["rs", "msg", "fc"]
    assert all(digits.startswith("0" * 8) for _, _, digits in prefixes)


def test_only_one_item_is_open_at_a_time_and_what_is_interleaved_waits_for_its_turn() -> None:
    events = streamed(
        call(0, "call_a", "look", '{"x"'),
        call(1, "call_b", "tell", '{"y"'),
        call(2, "call_c", None, "{"),
        call(1, arguments=":2}"),
        call(2, None, "look", "}"),
        call(0, arguments=":1}"),
        end("tool_calls"),
    )
    output = check_stream(events)["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [
        ("call_a", '{"x":1}'),
        ("call_b", '{"y":2}'),
        ("call_c", "{}"),
    ]


def test_a_call_whose_arguments_are_whole_makes_room_for_the_next_at_once() -> None:
    output = Output("0" * 8, PROVIDER)
    output.begin_round()
    list(output.add(ToolCallDelta(0, "call_a", "look", "{}")))
    assert list(output.add(ToolCallDelta(1, "call_b", "tell", "")))
    assert [item["status"] for item in output.items] == ["completed", "in_progress"]
    list(output.add(ToolCallDelta(2, "call_c", "look", "{}")))
    assert len(output.items) == 2
    list(output.end_round())
    assert [item["status"] for item in output.items] == ["completed"] * 3


def told(output: Sequence[JsonObject]) -> list[tuple[str, str, str]]:
    """Of each item its name, or its type, what it says, and its status."""
    return [
        (item["name"], item["arguments"], item["status"])
        if item["type"] == "function_call"
        else (item["type"], item["content"][0]["text"], item.get("status", ""))
        for item in output
    ]


def test_what_is_said_between_the_pieces_of_a_call_comes_behind_it() -> None:
    output = output_of(
        call(0, "call_a", "look", '{"x"'),
        text("One "),
        call(1, "call_b", "tell", "{"),
        text("two"),
        chunk(reasoning="hm"),
        call(0, arguments=":1}"),
        call(1, arguments="}"),
        end("tool_calls"),
    )
    assert told(output) == [
        ("look", '{"x":1}', "completed"),
        ("message", "One ", "completed"),
        ("tell", "{}", "completed"),
        ("message", "two", "completed"),
        ("reasoning", "hm", ""),
    ]


def test_what_comes_late_for_a_call_that_was_whole_is_blank_or_garbage() -> None:
    calls = [call(0, "call_a", "look", "{}"), call(1, "call_b", "tell", "{}"), text("Both.")]
    for late in (call(0), call(0, arguments="\n"), call(1, "call_b", "tell"), call(0, "call_a", "look", " "), call(2)):
        output = output_of(*calls, late, end("tool_calls"))
        assert [said for _, said, _ in told(output)] == ["{}", "{}", "Both."]
    response = check_stream(streamed(*calls, call(0, arguments='{"x":1}'), end("tool_calls")))
    assert response["error"]["message"].endswith("with more than a JSON object for its arguments.")


def test_a_function_called_twice_without_ids_or_indices_is_called_twice() -> None:
    output = output_of(call(None, None, "look", '{"x":1}'), call(None, None, "look", '{"x":2}'), end("tool_calls"))
    assert [said for _, said, _ in told(output)] == ['{"x":1}', '{"x":2}']


def test_a_call_that_another_one_takes_the_place_of_is_over_and_what_waited_for_it_comes_first() -> None:
    output = output_of(
        call(0, "call_a", "look", "{not JSON"),
        call(1, "call_b", "tell", "{"),
        call(0, "call_c", "look", "{}"),
        call(1, arguments="}"),
        end("tool_calls"),
    )
    assert [said for _, said, _ in told(output)] == ["{not JSON", "{}", "{}"]
    assert [item["call_id"] for item in output] == ["call_a", "call_b", "call_c"]


def test_arguments_that_end_in_a_brace_need_not_be_whole() -> None:
    output = output_of(
        call(0, "call_a", "look", '{"x":{}'), call(1, "call_b", "tell", "{}"), call(0, arguments="}"), end()
    )
    assert [said for _, said, _ in told(output)] == ['{"x":{}}', "{}"]


def test_of_calls_side_by_side_all_that_were_cut_off_are_incomplete() -> None:
    output = output_of(
        call(0, "call_a", "look", '{"x"'),
        call(1, "call_b", "tell", "{}"),
        call(2, "call_c", "look", "{"),
        end("length"),
    )
    assert [status for *_, status in told(output)] == ["incomplete", "completed", "incomplete"]


def test_ids_of_calls_in_the_context_are_not_given_again() -> None:
    output = Output("0" * 8, PROVIDER, taken_call_ids=["call_a"])
    output.begin_round()
    list(output.add(ToolCallDelta(0, "call_a", "look", "{}")))
    [item] = output.items
    assert item["call_id"] != "call_a"


def test_each_round_may_end_differently_and_costs_add_up() -> None:
    output = Output("0" * 8, PROVIDER)
    usage = read_completion(PROVIDER, orjson.dumps({"choices": [{"message": {"content": "a"}}], "usage": USAGE}))
    spent = [delta for delta in usage if isinstance(delta, Usage)]
    output.begin_round()
    for delta in (Finished("length"), *spent):
        list(output.add(delta))
    list(output.end_round())
    output.begin_round()
    for delta in (TextDelta("b"), *spent):
        list(output.add(delta))
    list(output.end_round())
    assert output.finished.reason == "stop"
    assert [item["status"] for item in output.items] == ["incomplete", "completed"]
    assert output.usage is not None
    assert (output.usage.total_tokens, output.usage.output_tokens_details.reasoning_tokens) == (36, 4)


def passed(kind: str, index: int = 0, **fields: object) -> PassedEvent:
    return PassedEvent({"type": f"response.{kind}", "output_index": index, **fields})  # type: ignore[dict-item]


SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "in_progress", "action": {"type": "search", "query": "q"}}


def test_an_upstreams_items_are_shown_under_this_outputs_numbers_and_ids() -> None:
    output = Output("0" * 8, PROVIDER, taken_ids=["ws_1"])
    output.begin_round()
    events = [*output.add(TextDelta("a")), *output.add(passed("output_item.added", item=SEARCH))]
    events += output.add(passed("web_search_call.searching", item_id="ws_1", obfuscation="x"))
    done = SEARCH | {"status": "completed"}
    events += output.add(passed("output_item.done", item=done))
    assert list(output.add(passed("output_item.done", item=done))) == []
    assert list(output.add(passed("web_search_call.searching", 7))) == []
    events += output.end_round()
    shown_id = output.items[1]["id"]
    assert shown_id != "ws_1"  # an item of the context has that id
    told = [event.payload for event in events if isinstance(event, Forwarded)]
    assert [fields["output_index"] for fields in told] == [1, 1]
    assert told[0] == {"type": "response.web_search_call.searching", "output_index": 1, "item_id": shown_id}
    assert output.items[1] == done | {"id": shown_id}


@pytest.mark.parametrize("given", ["ws_1", "ws_a-b"])
def test_an_upstreams_id_is_kept_where_it_can_be_one_here(given: str) -> None:
    output = Output("0" * 8, PROVIDER)
    output.begin_round()
    list(output.add(passed("output_item.added", item=SEARCH | {"id": given})))
    assert output.items[0]["id"] == given
    list(output.add(passed("output_item.added", 1, item=SEARCH | {"id": given})))
    assert output.items[1]["id"] != given


@pytest.mark.parametrize("given", [None, 7, "", "x" * 300, "msg_1", "ws_ü", "ws_1\n"])
def test_an_upstreams_id_that_can_be_none_here_is_replaced(given: object) -> None:
    output = Output("0" * 8, PROVIDER)
    output.begin_round()
    list(output.add(passed("output_item.added", item=SEARCH | {"id": given})))
    assert str(output.items[0]["id"]).startswith("ws_" + "0" * 8)


def test_an_upstreams_item_that_could_not_be_read_again_is_garbage() -> None:
    for item in (SEARCH | {"type": "unheard_of"}, SEARCH | {"type": "item_reference"}):
        output = Output("0" * 8, PROVIDER)
        output.begin_round()
        with pytest.raises(UpstreamGarbled, match="does not know"):
            list(output.add(passed("output_item.added", item=item)))
    output = Output("0" * 8, PROVIDER)
    output.begin_round()
    list(output.add(passed("output_item.added", item=SEARCH)))
    with pytest.raises(UpstreamGarbled, match="malformed"):
        list(output.add(passed("output_item.done", item=SEARCH | {"status": 7})))


@pytest.mark.parametrize(
    ("item", "waits"),
    [
        (SEARCH, False),
        ({"type": "function_call", "call_id": "a", "name": "f", "arguments": ""}, True),
        ({"type": "shell_call", "call_id": "a"}, True),
        ({"type": "shell_call", "call_id": "a", "environment": {"type": "local"}}, True),
        ({"type": "shell_call", "call_id": "a", "environment": {"type": "container_reference"}}, False),
    ],
)
def test_an_upstreams_call_waits_for_the_client_if_only_that_can_answer_it(item: JsonObject, waits: bool) -> None:
    output = Output("0" * 8, PROVIDER)
    output.begin_round()
    list(output.add(passed("output_item.added", item=item)))
    assert output.waits_for_client == waits
    output.begin_round()
    assert not output.waits_for_client
