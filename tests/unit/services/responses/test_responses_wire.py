"""An upstream's answer as deltas: calls of this server's own tools are taken apart, all else passes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from llama_conversations.errors import UpstreamGarbled
from llama_conversations.services.responses.chat_deltas import Finished, PassedEvent, ToolCallDelta
from llama_conversations.services.responses.responses_wire import AnswerReader

CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "own", "arguments": '{"a":1}'}
MESSAGE = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": []}


def read(*events: dict[str, Any]) -> list[object]:
    reader = AnswerReader("upstream", {"own"})
    return [delta for event in events for delta in reader.event(orjson.dumps(event))]


def item(stage: str, index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{stage}", "output_index": index, "item": item}


def end(*output: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": list(output)}}


def test_a_call_of_an_own_tool_is_taken_apart_and_a_clients_passes() -> None:
    theirs = CALL | {"name": "theirs"}
    delta = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"a":1}'}
    found = read(item("added", 0, CALL), delta, item("done", 0, CALL), item("added", 1, theirs), end(CALL, theirs))
    assert found == [
        ToolCallDelta(0, "call_1", "own", ""),
        ToolCallDelta(0, None, None, '{"a":1}'),
        PassedEvent(item("added", 1, theirs)),
        PassedEvent(item("done", 1, theirs)),
        Finished("stop"),
    ]


def test_arguments_that_were_not_streamed_are_taken_from_the_whole_call() -> None:
    found = read(item("added", 0, CALL | {"arguments": ""}), item("done", 0, CALL), end(CALL))
    assert found[:2] == [ToolCallDelta(0, "call_1", "own", ""), ToolCallDelta(0, None, None, '{"a":1}')]


def test_a_whole_answer_reads_as_a_streamed_one() -> None:
    body = orjson.dumps(end(CALL, MESSAGE)["response"])
    streamed = read(
        item("added", 0, CALL), item("added", 1, MESSAGE), item("done", 0, CALL), item("done", 1, MESSAGE), end()
    )
    whole = list(AnswerReader("upstream", {"own"}).whole(body))
    assert [type(delta) for delta in whole] == [ToolCallDelta, PassedEvent, ToolCallDelta, PassedEvent, Finished]
    assert whole == streamed


@pytest.mark.parametrize("output", [(), (CALL,)])
def test_an_item_that_never_ends_is_garbled(output: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(UpstreamGarbled):
        read(item("added", 0, MESSAGE), end(*output))
