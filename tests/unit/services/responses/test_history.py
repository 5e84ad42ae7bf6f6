"""Histories that grow: what was settled of one turn's messages is what a fresh telling of the whole would write."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.event_stream import JsonObject
from llama_conversations.errors import InvalidParameter
from llama_conversations.services.responses.chat_messages import chat_messages
from llama_conversations.services.responses.chat_parts import Named, ServerRun, Speech, call_ids, plain_name
from llama_conversations.services.responses.history import NO_HISTORY, Context, Histories, History, read_items
from llama_conversations.services.responses.settled_messages import NOTHING_SETTLED
from llama_conversations.storage.records import HistoryMark, ItemRecord
from unit.services.responses.support import Desk

PREAMBLE = [Speech("system", "Be kind.")]
MARK = HistoryMark(0, 1)


def unseal(token: str) -> str | None:
    return token.removeprefix("sealed:") if token.startswith("sealed:") else None


def say(role: str, text: str = "x") -> JsonObject:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def record(number: int, fields: JsonObject) -> ItemRecord:
    item_id = str(fields.get("id") or f"msg_{number}")
    return ItemRecord(item_id, str(fields["type"]), orjson.dumps({"id": item_id, **fields}).decode())


def stored(role: str) -> JsonObject:
    """A message with all the fields that it has where it is stored."""
    [part] = say(role)["content"]  # type: ignore[union-attr]
    lists = {"annotations": [], "logprobs": []} if role == "assistant" else {}
    return say(role) | {"status": "completed", "content": [part | lists]}  # type: ignore[operator]


KINDS: list[JsonObject] = [
    *(stored(role) for role in ("user", "assistant", "system")),
    *(say(role) for role in ("user", "user", "assistant", "assistant", "system", "developer")),
    *({"type": "function_call", "call_id": f"c{n}", "name": "look", "arguments": "{}"} for n in range(2)),
    *({"type": "function_call_output", "call_id": f"c{n}", "output": "done"} for n in range(2)),
    {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "n", "arguments": "{}", "output": "o"},
    {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "n", "arguments": "{}"},
    {"type": "mcp_approval_response", "id": "mcpa_1", "approval_request_id": "mcpr_1", "approve": False},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed:summary"},
    {"type": "compaction", "id": "cmp_2", "encrypted_content": "not ours"},
]


def offered(item: ServerRun) -> str:
    """As a turn calls tools whose own names are taken."""
    return f"box__{plain_name(item)}"


def told(context: Context, named: Named) -> bytes | str:
    """The messages, or why there are none."""
    try:
        return b",".join(context.chat_messages(PREAMBLE, unseal, named))
    except InvalidParameter as error:
        return str(error)


def told_afresh(records: list[ItemRecord], named: Named) -> bytes | str:
    try:
        return b",".join(chat_messages(PREAMBLE, read_items(records), unseal, named))
    except InvalidParameter as error:
        return str(error)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.booleans(), st.booleans()), max_size=24))
def test_a_history_that_grows_is_told_as_one_that_is_read_at_once(story: list[tuple[JsonObject, bool, bool]]) -> None:
    """Each item comes with whether a turn looks at the history behind it, and whether it is that turn's own."""
    history, so_far, waiting = NO_HISTORY, list[ItemRecord](), list[ItemRecord]()
    for number, (fields, looks, is_own) in enumerate(story):
        entry = record(number, fields)
        so_far.append(entry)
        if not looks:
            waiting.append(entry)
            continue
        own = [entry] if is_own else []
        history = history.continued([*waiting, *([] if is_own else [entry])], MARK)
        waiting = own
        context = Context(history, read_items(own))
        named = offered if number % 5 == 0 else plain_name
        assert told(context, named) == told_afresh(so_far, named)
        assert context.call_ids == call_ids(read_items(so_far))
        assert context.ids == {each.id for each in so_far}
        assert [item.type for item in context] == [each.type for each in so_far]
    assert NO_HISTORY.settled is NOTHING_SETTLED


def test_a_conversation_in_turns_is_settled_but_for_its_last_answer() -> None:
    history = History([record(n, say("user" if n % 2 == 0 else "assistant")) for n in range(100)])
    context = Context(history, [])
    assert context.chat_messages((), unseal) == [history.settled.text, b'{"role":"assistant","content":"x"}']
    assert history.settled.items == 99
    longer = history.continued([record(100, say("user"))], None)
    again = Context(longer, [])
    assert len(again.untold) == 2
    again.chat_messages((), unseal)
    assert longer.settled.items == 101
    assert longer.settled.text.startswith(history.settled.text)


def test_a_context_that_grows_within_a_turn_keeps_what_was_read() -> None:
    context = Context(History([record(0, say("user"))]), read_items([record(1, say("assistant"))]))
    context.chat_messages((), unseal)
    more = context.plus(read_items([record(2, say("user"))]))
    assert (len(more), more[2].id, [item.id for item in more[:2]]) == (3, "msg_2", ["msg_0", "msg_1"])
    assert [item.id for item in more.untold] == ["msg_1", "msg_2"]


def test_the_histories_that_were_not_asked_for_the_longest_go_first() -> None:
    small = [History([record(n, say("user"))], MARK) for n in range(3)]
    kept = Histories(max_bytes=small[0].size * 2)
    kept.put("a", small[0])
    kept.put("b", small[1])
    assert kept.get("a") is small[0]
    kept.put("c", small[2])
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (small[0], None, small[2])
    kept.put("c", History([record(n, say("user", "long")) for n in range(9)], MARK))
    assert (kept.get("a"), kept.get("c")) == (small[0], None)
    kept.put("a", NO_HISTORY)
    assert kept.get("a") is None


@pytest.mark.parametrize("foreign", ["appended", "deleted"])
async def test_what_others_change_in_a_conversation_is_seen_by_the_next_turn(desk: Desk, foreign: str) -> None:
    conversation_id = await desk.conversation(say("user", "one"), say("user", "two"))
    await desk.events(conversation=conversation_id)
    store, scope = desk.storage.conversations, desk.turn().turn.scope
    held = await desk.held(conversation_id)
    if foreign == "deleted":
        await store.delete_item(scope, conversation_id, str(held[0]["id"]))
        expected = ["two", "Hi", "Hello you", "Hi"]
    else:
        await store.append(scope, conversation_id, [record(9, say("user", "three"))])
        expected = ["one", "two", "Hi", "Hello you", "three", "Hi"]
    await desk.events(conversation=conversation_id)
    assert [message["content"] for message in desk.model.bodies[-1]["messages"]] == expected
