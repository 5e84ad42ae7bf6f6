"""Histories made shorter: whole exchanges, oldest first, never a call without its output."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.services.responses.truncation import drop_oldest
from llama_conversations.wire.items import INPUT_ITEM, FunctionCall, FunctionCallOutput, Item, Message


def item(**fields) -> Item:
    return INPUT_ITEM.validate_python(fields)


def said(role: str, text: str) -> Item:
    return item(type="message", role=role, content=text)


def call(call_id: str) -> Item:
    return item(type="function_call", call_id=call_id, name="f", arguments="{}")


def output(call_id: str) -> Item:
    return item(type="function_call_output", call_id=call_id, output="x")


def one(_item: Item) -> int:
    return 1


def positions(items: Sequence[Item], excess: int) -> list[int]:
    place = {id(each): position for position, each in enumerate(items)}
    return [place[id(each)] for each in drop_oldest(items, excess, one)]


THREE = [said("user", "1"), said("assistant", "a"), said("user", "2"), said("assistant", "b"), said("user", "3")]


@pytest.mark.parametrize(
    ("excess", "left"),
    [(-1, [0, 1, 2, 3, 4]), (0, [0, 1, 2, 3, 4]), (1, [2, 3, 4]), (2, [2, 3, 4]), (3, [4]), (99, [4])],
)
def test_as_few_of_the_oldest_exchanges_go_as_save_enough(excess, left):
    assert positions(THREE, excess) == left


def test_the_cost_decides_how_much_goes():
    assert drop_oldest(THREE, 10, lambda each: 10 if each is THREE[1] else 0) == THREE[2:]


def test_instructions_stay_wherever_they_stand():
    items = [said("system", "s"), *THREE[:2], said("developer", "d"), said("user", "last")]
    items.insert(2, item(type="additional_tools", role="developer", tools=[]))
    assert [each for each in items if each not in THREE] == list(drop_oldest(items, 99, one))


def test_a_summary_of_what_was_before_stays():
    summary = item(type="compaction", encrypted_content="sealed")
    assert positions([summary, *THREE], 99) == [0, 5]


def test_what_stands_before_the_first_user_goes_first():
    items = [said("system", "s"), said("assistant", "hello"), *THREE]
    assert positions(items, 1) == [0, 2, 3, 4, 5, 6]


def test_the_last_exchange_stays_whole():
    items = [said("user", "1"), call("c"), output("c"), call("d"), output("d")]
    assert positions(items, 99) == [0, 1, 2, 3, 4]


def test_a_call_and_an_output_of_a_later_exchange_go_together():
    items = [said("user", "1"), call("c"), said("user", "2"), said("user", "3"), output("c"), said("user", "4")]
    assert positions(items, 1) == [2, 5]
    assert positions(items, 5) == [5]


def test_a_call_that_the_last_exchange_answers_stays_and_what_stands_between_goes():
    items = [said("user", "1"), call("c"), said("user", "2"), said("assistant", "a"), said("user", "3"), output("c")]
    assert positions(items, 99) == [0, 1, 4, 5]


def test_chains_of_calls_and_outputs_go_together():
    items = [said("user", "1"), call("c"), said("user", "2"), output("c"), call("d"), said("user", "3"), output("d")]
    assert positions([*items, said("user", "4")], 1) == [7]
    assert positions(items, 99) == list(range(7))


def test_very_long_chains_are_followed_in_no_time():
    items = [said("user", "1")]
    for number in range(5_000):
        items += [call(f"c{number}"), said("user", "2"), output(f"c{number}")]
    assert positions([*items, said("user", "last")], 1) == [len(items)]


def test_the_same_call_id_in_every_exchange_ties_none_together():
    turn = [said("user", "1"), call("call_0"), output("call_0")]
    items = [*turn, *[each.model_copy() for each in turn], *[each.model_copy() for each in turn]]
    assert positions(items, 1) == [3, 4, 5, 6, 7, 8]


IMAGE = {"type": "computer_screenshot", "image_url": "data:x"}
PAIRS = [
    (call("c"), output("c")),
    (
        item(type="custom_tool_call", call_id="c", name="f", input="x"),
        item(type="custom_tool_call_output", call_id="c", output="x"),
    ),
    (
        item(type="computer_call", id="cu_1", call_id="c", status="completed", pending_safety_checks=[]),
        item(type="computer_call_output", call_id="c", output=IMAGE),
    ),
    (
        item(type="shell_call", call_id="c", action={"commands": ["ls"]}),
        item(type="shell_call_output", call_id="c", output=[]),
    ),
    (
        item(
            type="apply_patch_call",
            call_id="c",
            status="completed",
            operation={"type": "delete_file", "path": "a"},
        ),
        item(type="apply_patch_call_output", call_id="c", status="completed"),
    ),
    (
        item(type="program", id="cm_1", call_id="c", code="x", fingerprint="y"),
        item(type="program_output", id="cmo_1", call_id="c", result="x", status="completed"),
    ),
    (
        item(type="tool_search_call", call_id="c", arguments={}),
        item(type="tool_search_output", call_id="c", tools=[]),
    ),
    (
        item(type="mcp_approval_request", id="mcpr_1", server_label="s", name="f", arguments="{}"),
        item(type="mcp_approval_response", approval_request_id="mcpr_1", approve=True),
    ),
    (
        item(type="mcp_approval_request", id="mcpr_1", server_label="s", name="f", arguments="{}"),
        item(type="mcp_call", id="mcp_1", approval_request_id="mcpr_1", server_label="s", name="f", arguments="{}"),
    ),
    *(
        (
            item(
                type="local_shell_call",
                id="lsh_1",
                call_id="c",
                status="completed",
                action={"type": "exec", "command": ["ls"], "env": {}},
            ),
            item(type="local_shell_call_output", output="{}", **names),
        )
        for names in ({"id": "lsh_1"}, {"id": "c"}, {"id": "lsho_1", "call_id": "c"})
    ),
]


@pytest.mark.parametrize(("calling", "answering"), PAIRS, ids=lambda each: each.type)
def test_every_kind_of_call_stays_with_its_output(calling, answering):
    items = [said("user", "1"), calling, said("user", "2"), said("user", "3"), answering]
    assert positions(items, 99) == [0, 1, 3, 4]


def test_calls_without_ids_are_tied_to_nothing():
    search = item(type="tool_search_call", arguments={}), item(type="tool_search_output", tools=[])
    mcp = item(type="mcp_call", id="mcp_1", server_label="s", name="f", arguments="{}")
    items = [said("user", "1"), search[0], said("user", "2"), search[1], mcp]
    assert positions(items, 99) == [2, 3, 4]


def test_a_request_approved_in_one_exchange_and_called_in_the_next_stays_with_both():
    request, answer = PAIRS[7]
    items = [said("user", "1"), request, said("user", "2"), answer, said("user", "3"), PAIRS[8][1]]
    assert positions(items, 99) == list(range(6))


def test_a_history_without_user_messages_is_one_exchange():
    items = [said("system", "s"), said("assistant", "a"), call("c"), output("c")]
    assert positions(items, 99) == [0, 1, 2, 3]


@pytest.mark.parametrize("items", [[], [said("system", "s")]])
def test_nothing_to_drop_is_nothing_dropped(items):
    assert list(drop_oldest(items, 99, one)) == items


ROLES = st.sampled_from(["user", "assistant", "system", "developer"]).map(lambda role: said(role, "x"))
IDS = st.sampled_from(["a", "b", "c"])


@st.composite
def histories(draw) -> list[Item]:
    """Any items, each output somewhere behind a call that it answers."""
    items: list[Item] = []
    open_calls: list[str] = []
    for _ in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(["message", "message", "call", "output"]))
        if kind == "message":
            items.append(draw(ROLES).model_copy())
        elif kind == "call":
            open_calls.append(draw(IDS))
            items.append(call(open_calls[-1]))
        elif open_calls:
            items.append(output(open_calls.pop(draw(st.integers(0, len(open_calls) - 1)))))
    return [*items, *(output(call_id) for call_id in open_calls)]


def is_user(each: Item) -> bool:
    return isinstance(each, Message) and each.role == "user"


def is_instruction(each: Item) -> bool:
    return isinstance(each, Message) and each.role in ("system", "developer")


def pairs(items: Sequence[Item]) -> list[tuple[int, int]]:
    calls: dict[str, list[int]] = {}
    found = []
    for each in items:
        if isinstance(each, FunctionCall):
            calls.setdefault(each.call_id, []).append(id(each))
        elif isinstance(each, FunctionCallOutput):
            found.append((calls[each.call_id].pop(0), id(each)))
    return found


@given(histories(), st.integers(-2, 30))
def test_what_is_left_is_in_order_and_holds_instructions_and_the_last_exchange(items, excess):
    left = positions(items, excess)
    assert left == sorted(left)
    users = [position for position, each in enumerate(items) if is_user(each)]
    last = range(users[-1] if users else 0, len(items))
    stays = {position for position, each in enumerate(items) if is_instruction(each)} | set(last)
    assert stays <= set(left)


@given(histories(), st.integers(-2, 30))
def test_calls_and_outputs_go_together(items, excess):
    left = {id(each) for each in drop_oldest(items, excess, one)}
    assert all((calling in left) == (answering in left) for calling, answering in pairs(items))


@given(histories(), st.integers(-2, 30))
def test_exchanges_go_whole(items, excess):
    left = {id(each) for each in drop_oldest(items, excess, one)}
    exchange: list[bool] = []
    for each in items:
        if is_user(each):
            exchange = []
        if not is_instruction(each):
            exchange.append(id(each) in left)
        assert len(set(exchange)) < 2


@given(histories(), st.integers(0, 30))
def test_nothing_goes_that_need_not_go(items, excess):
    left = drop_oldest(items, excess, one)
    saved = len(items) - len(left)
    if saved:
        less = drop_oldest(items, excess - 1, one)
        assert len(items) - len(less) <= saved
        assert excess > 0
    if saved < excess:
        assert drop_oldest(items, 10**6, one) == left
