"""One turn: what is claimed, asked, shown and committed; and that nothing stays behind however it is left."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import orjson
import pytest

from harness.event_stream import JsonObject, check_stream
from llama_conversations.access import DEFAULT_SCOPE
from llama_conversations.errors import (
    ConversationLocked,
    ConversationNotFound,
    DuplicateItem,
    InvalidParameter,
    PreviousResponseNotFound,
    ResponseNotFound,
    StackError,
    TurnLost,
    UnsupportedParameter,
    UpstreamDisconnected,
    UpstreamRejected,
)
from llama_conversations.ids import new_id
from llama_conversations.services.responses.engine import RunningTurn
from llama_conversations.services.responses.failures import INTERNAL
from llama_conversations.storage.dialects.sqlite import SqliteDatabase
from llama_conversations.storage.unit_of_work import Unit
from unit.services.responses.support import (
    ANSWER,
    PROVIDER,
    USAGE,
    Desk,
    call,
    chunk,
    end,
    open_desk,
    shown,
    text,
    types,
)
from unit.storage.support import write_lock_held

QUESTION = {"type": "message", "role": "user", "content": "Earlier"}
REPLY = {"type": "message", "role": "assistant", "content": "Said before"}
LOOK = {"type": "function", "name": "look", "parameters": {}}
DISCONNECTED = UpstreamDisconnected(PROVIDER, "The model server hung up.")


def ids(items: list[JsonObject]) -> list[str]:
    return [str(item["id"]) for item in items]


def database_of(desk: Desk) -> SqliteDatabase:
    return desk.storage.responses._database  # type: ignore[attr-defined, no-any-return]


@asynccontextmanager
async def held(put: Callable[[Unit[None]], object]) -> AsyncIterator[None]:
    """While this is open, a thread of the database does nothing more."""
    reached, gate = threading.Event(), threading.Event()

    def unit() -> Unit[None]:
        reached.set()
        assert gate.wait(20)
        return
        yield

    holding = asyncio.ensure_future(put(unit()))  # type: ignore[arg-type]
    assert await asyncio.to_thread(reached.wait, 20)
    try:
        yield
    finally:
        gate.set()
        await holding


async def check_nothing_left(desk: Desk, conversation_id: str | None, *items: str) -> None:
    """No response but those that ended, no lock, and the items that the conversation should hold."""
    assert {response["status"] for response in await desk.responses()} <= {"completed", "incomplete", "failed"}
    if conversation_id is not None:
        assert await desk.unlocked(conversation_id)
        assert ids(await desk.held(conversation_id)) == list(items)


async def test_a_turn_shows_stores_and_appends_the_same(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION, REPLY)
    before = await desk.held(conversation_id)
    running = desk.turn(conversation=conversation_id, stream=True, instructions="Be kind.")
    response = check_stream(await shown(running))
    assert orjson.loads(running.body) == response == await desk.retrieved(response["id"])
    assert response["usage"]["total_tokens"] == 18
    after = await desk.held(conversation_id)
    assert after[:2] == before
    assert [item["content"][0]["text"] for item in after[2:]] == ["Hi", "Hello you"]
    assert after[3] == response["output"][0]
    assert await desk.unlocked(conversation_id)
    assert desk.model.bodies[0]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Earlier"},
        {"role": "assistant", "content": "Said before"},
        {"role": "user", "content": "Hi"},
    ]


async def test_a_turn_that_is_not_streamed_says_the_same_events(desk: Desk) -> None:
    message = {"content": "Hello you", "reasoning_content": "hm", "tool_calls": [
        {"id": "call_a", "function": {"name": "look", "arguments": "{}"}}]}  # fmt: skip
    choice = {"message": message, "finish_reason": "tool_calls"}
    desk.model.answer = orjson.dumps({"choices": [choice], "usage": USAGE})
    events = await shown(desk.turn())
    response = check_stream(events)
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert "stream" not in desk.model.bodies[0]


async def test_the_conversation_is_claimed_before_the_model_is_asked(desk: Desk) -> None:
    conversation_id, gate = await desk.conversation(), asyncio.Event()
    desk.model.script = [gate.wait, *ANSWER]
    first = asyncio.ensure_future(shown(desk.turn(conversation=conversation_id, stream=True)))
    await desk.model.asked.wait()
    with pytest.raises(ConversationLocked):
        await shown(desk.turn(conversation=conversation_id, stream=True))
    assert len(desk.model.bodies) == 1
    gate.set()
    check_stream(await first)
    assert len(await desk.held(conversation_id)) == 2
    assert len(await desk.responses()) == 1


async def test_all_of_a_long_history_counts(desk: Desk) -> None:
    conversation_id = await desk.conversation(*(QUESTION | {"content": f"{n}"} for n in range(300)))
    await shown(desk.turn(conversation=conversation_id, stream=True))
    assert [m["content"] for m in desk.model.bodies[0]["messages"]] == [*(f"{n}" for n in range(300)), "Hi"]


async def test_what_is_added_or_deleted_during_a_turn_counts_from_the_next_one_on(desk: Desk) -> None:
    conversation_id, gate = await desk.conversation(QUESTION), asyncio.Event()
    [first] = ids(await desk.held(conversation_id))
    desk.model.script = [gate.wait, *ANSWER]
    running = asyncio.ensure_future(shown(desk.turn(conversation=conversation_id, stream=True)))
    await desk.model.asked.wait()
    other = await desk.conversation(QUESTION)
    [added] = await desk.storage.conversations.history(DEFAULT_SCOPE, other, 10)
    await desk.storage.conversations.append(DEFAULT_SCOPE, conversation_id, [added])
    await desk.storage.conversations.delete_item(DEFAULT_SCOPE, conversation_id, first)
    gate.set()
    response = check_stream(await running)
    assert [m["content"] for m in desk.model.bodies[0]["messages"]] == ["Earlier", "Hi"]
    held_ids = ids(await desk.held(conversation_id))
    assert held_ids[0] == added.id
    assert held_ids[2] == response["output"][0]["id"]
    assert len(held_ids) == 3


@pytest.mark.parametrize("store", [True, False])
async def test_a_chain_of_responses_is_the_context_of_the_next(desk: Desk, store: bool) -> None:
    first = check_stream(await shown(desk.turn(stream=True, instructions="Once.")))
    asked = {"previous_response_id": first["id"], "input": "And?", "store": store}
    second = check_stream(await shown(desk.turn(stream=True, **asked)))
    assert second["previous_response_id"] == first["id"]
    assert [m["content"] for m in desk.model.bodies[1]["messages"]] == ["Hi", "Hello you", "And?"]
    assert len(await desk.responses()) == 1 + store


async def test_a_chain_may_begin_in_a_conversation_with_what_that_held_then(desk: Desk) -> None:
    conversation_id = await desk.conversation(QUESTION)
    first = check_stream(await shown(desk.turn(stream=True, conversation=conversation_id)))
    await shown(desk.turn(stream=True, conversation=conversation_id, input="not this"))
    await shown(desk.turn(stream=True, previous_response_id=first["id"], input="And?"))
    assert [m["content"] for m in desk.model.bodies[2]["messages"]] == ["Earlier", "Hi", "Hello you", "And?"]


async def test_an_unstored_turn_leaves_nothing_and_one_in_a_conversation_leaves_its_items(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    alone = check_stream(await shown(desk.turn(stream=True, store=False)))
    within = check_stream(await shown(desk.turn(stream=True, store=False, conversation=conversation_id)))
    assert await desk.responses() == []
    for response in (alone, within):
        with pytest.raises(ResponseNotFound):
            await desk.retrieved(response["id"])
    assert ids(await desk.held(conversation_id))[1] == within["output"][0]["id"]
    await check_nothing_left(desk, conversation_id, *ids(await desk.held(conversation_id)))


async def test_an_incomplete_turn_is_kept_as_such_and_can_be_continued(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    desk.model.script = [text("Hel"), end("length")]
    response = check_stream(await shown(desk.turn(stream=True, conversation=conversation_id)))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (await desk.held(conversation_id))[1]["status"] == "incomplete"
    desk.model.script = ANSWER
    check_stream(await shown(desk.turn(stream=True, conversation=conversation_id)))
    check_stream(await shown(desk.turn(stream=True, previous_response_id=response["id"])))


async def test_tools_are_called_and_answered_over_two_turns(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    desk.model.script = [call(0, "call_a", "look", "{}"), call(1, "call_b", "look", "{}"), end("tool_calls")]
    asked = {"stream": True, "conversation": conversation_id, "tools": [LOOK]}
    first = check_stream(await shown(desk.turn(**asked)))
    assert [item["call_id"] for item in first["output"]] == ["call_a", "call_b"]
    results = [{"type": "function_call_output", "call_id": f"call_{x}", "output": x} for x in "ba"]
    with pytest.raises(InvalidParameter, match="No tool output found for function call call_a"):
        await shown(desk.turn(**asked, input=results[:1]))
    assert await desk.unlocked(conversation_id)
    desk.model.script = ANSWER
    check_stream(await shown(desk.turn(**asked, input=results)))
    messages = desk.model.bodies[-1]["messages"]
    answers = [(m["tool_call_id"], m["content"]) for m in messages if m["role"] == "tool"]
    assert answers == [("call_a", "a"), ("call_b", "b")]
    assert messages[: len(desk.model.bodies[0]["messages"])] == desk.model.bodies[0]["messages"]


FILE = [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]

REFUSED: list[tuple[type[StackError], JsonObject]] = [
    (PreviousResponseNotFound, {"previous_response_id": new_id("resp")}),
    (ConversationNotFound, {"conversation": new_id("conv")}),
    (InvalidParameter, {"input": [{"type": "function_call_output", "call_id": "a", "output": "b"}]}),
    (UnsupportedParameter, {"input": FILE}),
    (UnsupportedParameter, {"conversation": "here", "input": FILE}),
    (UnsupportedParameter, {"conversation": "here", "input": FILE, "store": False}),
    (DuplicateItem, {"conversation": "here", "input": [QUESTION | {"id": "msg_held"}]}),
]


@pytest.mark.parametrize(("error", "fields"), REFUSED)
async def test_what_is_wrong_with_the_context_is_told_before_any_event_and_leaves_nothing(
    desk: Desk, error: type[StackError], fields: JsonObject
) -> None:
    conversation_id = await desk.conversation(QUESTION | {"id": "msg_held"})
    if fields.get("conversation") == "here":
        fields = fields | {"conversation": conversation_id}
    with pytest.raises(error):
        await shown(desk.turn(stream=True, **fields))
    assert not desk.model.asked.is_set()
    assert await desk.responses() == []
    await check_nothing_left(desk, conversation_id, "msg_held")


async def test_a_failed_response_cannot_be_continued(desk: Desk) -> None:
    desk.model.script = [DISCONNECTED]
    failed = check_stream(await shown(desk.turn(stream=True)))
    with pytest.raises(InvalidParameter, match="its status is 'failed'") as found:
        await shown(desk.turn(stream=True, previous_response_id=failed["id"]))
    assert found.value.param == "previous_response_id"


async def test_an_id_that_the_chain_holds_is_refused(desk: Desk) -> None:
    first = check_stream(await shown(desk.turn(stream=True, input=[QUESTION | {"id": "msg_1"}])))
    for item_id in ("msg_1", first["output"][0]["id"]):
        with pytest.raises(DuplicateItem):
            await shown(desk.turn(stream=True, previous_response_id=first["id"], input=[QUESTION | {"id": item_id}]))


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_model_that_fails_halfway_fails_the_turn_appends_nothing_and_unlocks(desk: Desk, after: int) -> None:
    conversation_id = await desk.conversation()
    desk.model.script = [*ANSWER[:after], DISCONNECTED]
    running = desk.turn(stream=True, conversation=conversation_id)
    events = await shown(running)
    response = check_stream(events)
    assert response["error"] == {"code": "server_error", "message": "The model server hung up."}
    assert types(events)[-2:] == ["error", "failed"]
    assert running.error is DISCONNECTED
    assert await desk.retrieved(response["id"]) == response
    await check_nothing_left(desk, conversation_id)


async def test_a_fault_of_ours_is_logged_and_not_told(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.model.script = [text("a"), ValueError("secret internals")]
    events = await shown(desk.turn(stream=True))
    response = check_stream(events)
    assert "secret" not in str(events)
    assert response["error"]["code"] == "server_error"
    assert "secret internals" in caplog.text


async def test_a_rejected_request_names_the_parameter_in_the_error_event(desk: Desk) -> None:
    desk.model.script = [UpstreamRejected(PROVIDER, "too long", code="context_length_exceeded", param="messages")]
    events = await shown(desk.turn(stream=True))
    assert events[-2] == {**events[-2], "code": "invalid_prompt", "message": "too long", "param": "input"}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (None, None),
        ("max_tokens", "max_output_tokens"),
        ("messages[0].content", "input"),
        ("response_format.json_schema", "text.format"),
        ("temperature", "temperature"),
        ("seed", "seed"),
    ],
)
async def test_a_rejected_request_names_what_the_caller_sent(desk: Desk, theirs: str | None, ours: str | None) -> None:
    desk.model.answer = UpstreamRejected(PROVIDER, "bad", code=None, param=theirs)
    with pytest.raises(UpstreamRejected) as found:
        await desk.create()
    assert found.value.param == ours


@pytest.mark.parametrize("place", range(9))
async def test_a_reader_that_stops_at_any_event_ends_the_turn_and_drops_the_model(desk: Desk, place: int) -> None:
    conversation_id = await desk.conversation()
    running = desk.turn(stream=True, conversation=conversation_id)
    async with aclosing(running.events()) as events:
        for _ in range(place + 1):
            await anext(events)
    assert desk.model.dropped.is_set() == (2 <= place < 6)
    await check_nothing_left(desk, conversation_id)
    [response] = await desk.responses()
    assert response["error"]["message"] == "The turn was stopped before the model had finished."


async def test_a_reader_that_stops_at_the_last_event_has_a_turn_that_is_stored(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    running = desk.turn(stream=True, conversation=conversation_id)
    async with aclosing(running.events()) as events:
        async for event in events:
            if event.type == "response.completed":
                break
    assert len(await desk.held(conversation_id)) == 2
    [response] = await desk.responses()
    assert response["status"] == "completed"


async def cancelled(task: asyncio.Task[list[JsonObject]]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def begin(desk: Desk, conversation_id: str, **fields: object) -> asyncio.Task[list[JsonObject]]:
    """A turn's task, begun."""
    task = asyncio.ensure_future(shown(desk.turn(stream=True, conversation=conversation_id, **fields)))
    await asyncio.sleep(0)
    return task


async def test_a_turn_cancelled_while_it_is_claimed_is_unclaimed(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    async with held(database_of(desk).write):
        task = await begin(desk, conversation_id)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()  # whether the claim happened is not known before the database says so
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await desk.responses() == []
    await check_nothing_left(desk, conversation_id)
    assert not desk.model.asked.is_set()


async def test_a_turn_cancelled_while_it_reads_its_context_is_unclaimed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id, reading = await desk.conversation(QUESTION), asyncio.Event()

    async def stuck(*_: object) -> None:
        reading.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(desk.storage.conversations, "history_since", stuck)
        task = await begin(desk, conversation_id)
        await reading.wait()
        await cancelled(task)
    assert await desk.responses() == []
    await check_nothing_left(desk, conversation_id, *ids(await desk.held(conversation_id)))


async def test_a_turn_cancelled_while_the_model_speaks_fails_and_drops_the_model(desk: Desk) -> None:
    conversation_id, spoken = await desk.conversation(), asyncio.Event()
    desk.model.script = [text("Hel"), spoken.set, asyncio.Event().wait]
    task = await begin(desk, conversation_id)
    await spoken.wait()
    await cancelled(task)
    assert desk.model.dropped.is_set()
    [response] = await desk.responses()
    assert (response["status"], response["output"]) == ("failed", [])
    await check_nothing_left(desk, conversation_id)


async def test_a_turn_cancelled_while_it_is_committed_is_kept_whole(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    conversation_id, gate = await desk.conversation(), asyncio.Event()
    desk.model.script = [gate.wait, *ANSWER]
    task = await begin(desk, conversation_id)
    await desk.model.asked.wait()
    committing = asyncio.Event()
    commit = desk.storage.responses.commit

    async def noted(*arguments: object) -> None:
        committing.set()
        await commit(*arguments)  # type: ignore[arg-type]

    desk.storage.responses.commit = noted  # type: ignore[method-assign, assignment]
    async with held(database_of(desk).write):
        gate.set()
        await committing.wait()
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    desk.storage.responses.commit = commit  # type: ignore[method-assign]
    statuses = [response["status"] for response in await desk.responses()]
    held_items = await desk.held(conversation_id)
    assert (statuses, len(held_items)) == (["completed"], 2)
    assert not caplog.records
    assert await desk.unlocked(conversation_id)


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_a_turn_cancelled_at_any_moment_is_kept_whole_or_not_at_all(desk: Desk, steps: int) -> None:
    conversation_id = await desk.conversation()
    task = asyncio.ensure_future(shown(desk.turn(stream=True, conversation=conversation_id)))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await desk.unlocked(conversation_id)
    statuses = [response["status"] for response in await desk.responses()]
    assert (statuses, len(await desk.held(conversation_id))) in [
        ([], 0),
        (["failed"], 0),
        (["completed"], 2),
    ]


async def test_a_turn_whose_lease_was_lost_stores_nothing_and_says_so_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    conversation_id, gate = await desk.conversation(), asyncio.Event()
    desk.model.script = [gate.wait, *ANSWER]
    task = await begin(desk, conversation_id)
    await desk.model.asked.wait()
    desk.expire_leases()
    await desk.storage.responses.sweep(lambda head: head.replace("in_progress", "failed", 1))
    gate.set()
    with caplog.at_level(logging.WARNING):
        events = await task
    response = check_stream(events)
    assert response["error"]["message"] == str(TurnLost(response["id"]))
    await check_nothing_left(desk, conversation_id)
    said = [(record.levelno, record.message) for record in caplog.records]
    assert said == [(logging.WARNING, str(TurnLost(response["id"])))]


async def test_a_turn_whose_end_cannot_be_stored_fails_and_its_lease_is_let_run_out(tmp_path: Path) -> None:
    async with open_desk(tmp_path, busy_timeout_seconds=0.05) as desk:
        conversation_id, gate = await desk.conversation(), asyncio.Event()
        desk.model.script = [gate.wait, *ANSWER]
        running = desk.turn(stream=True, conversation=conversation_id)
        task = asyncio.ensure_future(shown(running))
        await desk.model.asked.wait()
        with write_lock_held(desk.path):
            gate.set()
            response = check_stream(await task)
        assert response["error"] == {"code": "server_error", "message": INTERNAL}
        assert orjson.loads(running.body) == response
        assert not await desk.unlocked(conversation_id)
        desk.expire_leases()
        await desk.sweep()
        assert (await desk.retrieved(response["id"]))["status"] == "failed"
        await check_nothing_left(desk, conversation_id)


async def test_a_conversation_deleted_during_its_turn_gains_nothing_and_the_response_is_kept(desk: Desk) -> None:
    conversation_id, gate = await desk.conversation(), asyncio.Event()
    desk.model.script = [gate.wait, *ANSWER]
    task = await begin(desk, conversation_id)
    await desk.model.asked.wait()
    await desk.storage.conversations.delete(DEFAULT_SCOPE, conversation_id)
    gate.set()
    response = check_stream(await task)
    assert await desk.retrieved(response["id"]) == response
    assert await desk.held(conversation_id) == []


async def test_thoughts_are_kept_for_the_reader_and_not_sent_back_to_the_model(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    desk.model.script = [chunk(reasoning="hm"), *ANSWER]
    response = check_stream(await shown(desk.turn(stream=True, conversation=conversation_id)))
    assert (await desk.held(conversation_id))[1] == response["output"][0]
    check_stream(await shown(desk.turn(stream=True, conversation=conversation_id)))
    assert [m["role"] for m in desk.model.bodies[1]["messages"]] == ["user", "assistant", "user"]


async def test_a_turn_is_known_by_the_ids_of_its_conversations_partition(desk: Desk) -> None:
    running: RunningTurn = desk.turn(stream=True)
    response = check_stream(await shown(running))
    assert response["output"][0]["id"].partition("_")[2].startswith(running.turn.partition)
