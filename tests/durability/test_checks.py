"""The checker finds what it is there to find: each fault that is planted in a small world where all is well."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from durability.checks import check
from durability.deployment import logged_errors
from durability.observed import Observed
from durability.operations import Operation, Outcome


class World:
    """A conversation that was made, appended to twice, updated and asked, and one that nobody knows was made."""

    def __init__(self) -> None:
        self.seen = Observed()
        self.made = Operation("c0-0", "create", "conv_a", ("c0-0.0",), began=1, ended=2)
        self.appended = Operation("c0-1", "append", "conv_a", ("c0-1.0", "c0-1.1", "c0-1.2"), began=3, ended=4)
        self.asked = Operation("c0-2", "turn", "conv_a", ("c0-2.0",), began=5, ended=6)
        self.updated = Operation("c0-3", "update", "conv_a", began=7, ended=8)
        self.lost = Operation("c0-4", "append", "conv_a", ("c0-4.0", "c0-4.1"), began=9, outcome=Outcome.UNKNOWN)
        self.deleted = Operation("c0-5", "delete item", "conv_a", target="msg_3", began=10, ended=11)
        self.refused = Operation("c0-6", "append", "conv_a", ("c0-6.0",), began=12)
        self.read = Operation("c0-7", "look", "conv_a", began=13, ended=14)
        self.unseen = Operation("c1-0", "create", None, ("c1-0.0",), began=1, outcome=Outcome.UNKNOWN)
        self.failed = Operation("c1-1", "failing turn", "conv_a", ("c1-1.0",), began=15)
        self.log = [value for value in vars(self).values() if isinstance(value, Operation)]
        for operation in self.log:
            operation.attempts = 1
            operation.outcome = Outcome.DONE if operation.ended < 99 else operation.outcome
        self.items = [
            item("msg_0", "c0-0.0"),
            item("msg_1", "c0-1.0"),
            item("msg_2", "c0-1.1"),
            item("msg_4", "c0-2.0"),
            item("msg_5", "seen=5 last=c0-2.0"),
            item("msg_6", "c0-4.0"),
            item("msg_7", "c0-4.1"),
        ]
        self.seen.conversations = {
            "conv_a": {"id": "conv_a", "metadata": {"op": "c0-0", "v": "c0-3"}},
            "conv_b": {"id": "conv_b", "metadata": {"op": "c1-0"}},
        }
        self.seen.items = {"conv_a": self.items, "conv_b": [item("msg_0", "c1-0.0")]}
        self.seen.probes = {"conv_a": 7, "conv_b": 1}
        self.seen.responses = {
            "resp_0": response("resp_0", "c0-2", "completed", self.items[4]),
            "resp_1": response("resp_1", "c1-1", "failed"),
        }
        self.appended.answer = {"data": [item(f"msg_{n}", f"c0-1.{n - 1}") for n in (1, 2, 3)]}
        self.asked.answer = copy.deepcopy(self.seen.responses["resp_0"])
        self.read.answer = {"data": [item("msg_0", "c0-0.0"), *self.appended.answer["data"], *self.items[3:]]}

    def rules(self) -> set[str]:
        """The rules that do not hold."""
        return {violation.rule for violation in check(self.log, self.seen)}


def item(item_id: str, text: str) -> dict[str, Any]:
    return {"id": item_id, "type": "message", "content": [{"type": "input_text", "text": text}]}


def response(response_id: str, marker: str, status: str, *output: dict[str, Any]) -> dict[str, Any]:
    return {"id": response_id, "status": status, "metadata": {"op": marker}, "output": list(output)}


def test_where_all_is_well_nothing_is_found() -> None:
    assert check(World().log, World().seen) == []


def test_what_nobody_knows_may_be_absent_as_a_whole() -> None:
    world = World()
    del world.items[5:]
    del world.read.answer["data"][6:]  # type: ignore[index]
    del world.seen.conversations["conv_b"], world.seen.items["conv_b"], world.seen.probes["conv_b"]
    world.seen.probes["conv_a"] = 5
    assert world.rules() == set()


def lose(world: World) -> None:
    del world.items[1:3]


def lose_half(world: World) -> None:
    del world.items[1]


def lose_half_of_what_is_unknown(world: World) -> None:
    del world.items[5]


def lose_an_answer(world: World) -> None:
    del world.items[4]


def lose_a_conversation(world: World) -> None:
    del world.seen.conversations["conv_a"], world.seen.items["conv_a"]


def double(world: World) -> None:
    world.items += [item("msg_8", "c0-1.0"), item("msg_9", "c0-1.1")]


def double_what_is_unknown(world: World) -> None:
    world.items += [item("msg_8", "c0-4.0"), item("msg_9", "c0-4.1")]


def double_a_create(world: World) -> None:
    world.seen.conversations["conv_c"] = {"id": "conv_c", "metadata": {"op": "c1-0"}}
    world.seen.items["conv_c"] = [item("msg_0", "c1-0.0")]


def double_a_turn(world: World) -> None:
    world.seen.responses["resp_2"] = response("resp_2", "c0-2", "completed", world.items[4])


def turn_a_batch_round(world: World) -> None:
    world.items[1:3] = world.items[2:0:-1]


def break_a_batch(world: World) -> None:
    world.items.insert(6, item("msg_8", "c0-2.0"))
    del world.items[3]


def swap(world: World) -> None:
    world.items[0:3] = [*world.items[1:3], world.items[0]]


def keep_what_was_refused(world: World) -> None:
    world.items.append(item("msg_8", "c0-6.0"))


def keep_what_failed(world: World) -> None:
    world.items.append(item("msg_8", "c1-1.0"))


def keep_what_was_deleted(world: World) -> None:
    world.items.insert(3, item("msg_3", "c0-1.2"))


def invent(world: World) -> None:
    world.items.append(item("msg_8", "c9-9.0"))


def stray(world: World) -> None:
    world.seen.items["conv_b"] = [item("msg_0", "c1-0.0"), item("msg_8", "c0-6.0")]


def change_an_item(world: World) -> None:
    world.items[1] = item("msg_1", "c0-1.0 and more")


def change_a_response(world: World) -> None:
    world.seen.responses["resp_0"]["status"] = "incomplete"


def lose_a_response(world: World) -> None:
    del world.seen.responses["resp_0"]


def lose_a_response_that_was_shown(world: World) -> None:
    world.failed.shown = "resp_2"


def forget_an_update(world: World) -> None:
    del world.seen.conversations["conv_a"]["metadata"]["v"]


def give_a_turn_too_little(world: World) -> None:
    world.items[4] = item("msg_5", "seen=3 last=c0-2.0")


def give_a_turn_too_much(world: World) -> None:
    world.items[4] = item("msg_5", "seen=9 last=c0-2.0")


def give_the_last_turn_too_little(world: World) -> None:
    world.seen.probes["conv_a"] = 6


def lock(world: World) -> None:
    world.refused.statuses = ["400 conversation_locked"]


def read_too_little(world: World) -> None:
    del world.read.answer["data"][4]  # type: ignore[index]


def lose_what_was_read(world: World) -> None:
    del world.items[5:]


def disagree(world: World) -> None:
    world.seen.faults.append("pages differ")


def answer_wrongly(world: World) -> None:
    world.asked.faults.append("no stream")


def come_from_nowhere(world: World) -> None:
    world.seen.responses["resp_2"] = response("resp_2", "c9-9", "failed")
    world.seen.conversations["conv_c"] = {"id": "conv_c", "metadata": {}}


FAULTS: dict[str, list[Callable[[World], None]]] = {
    "what was acknowledged is there": [lose, lose_a_conversation],
    "nothing is there by half": [lose_half, lose_half_of_what_is_unknown, lose_an_answer],
    "nothing is there twice": [double, double_what_is_unknown],
    "a create has one effect": [double_a_create],
    "a turn has one response": [double_a_turn],
    "a batch is in order and unbroken": [turn_a_batch_round, break_a_batch],
    "the order is kept": [swap],
    "what was refused is not there": [keep_what_was_refused, keep_what_failed],
    "a turn that failed adds nothing": [keep_what_failed],
    "what was deleted is gone": [keep_what_was_deleted],
    "nothing comes from nowhere": [invent, come_from_nowhere],
    "nothing strays": [stray],
    "an item is what was shown": [change_an_item],
    "a response is what was shown": [change_a_response, lose_a_response],
    "a response that was shown is there": [lose_a_response_that_was_shown],
    "a turn's output is in its conversation": [give_a_turn_too_much],
    "the last update holds": [forget_an_update],
    "a turn is given the whole conversation": [
        give_a_turn_too_little,
        give_a_turn_too_much,
        give_the_last_turn_too_little,
    ],
    "no conversation stays locked": [lock],
    "what was acknowledged is read": [read_too_little],
    "what was read stays": [lose_what_was_read],
    "answers agree": [disagree],
    "answers are what they claim to be": [answer_wrongly],
}


@pytest.mark.parametrize(
    ("plant", "rule"), [(plant, rule) for rule, plants in FAULTS.items() for plant in plants],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
def test_a_fault_is_found(plant: Callable[[World], None], rule: str) -> None:
    world = World()
    plant(world)
    assert rule in world.rules()


def test_what_a_server_did_not_expect_is_found_in_its_log() -> None:
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1, in b', "    c()"]
    chained = ["", "The above exception was the direct cause of the following exception:", "", *trace]
    away = "llama_conversations.errors.StorageUnavailable: The database is not available."
    lines = ["10:00 all is well", *trace, "OSError: gone", *chained, away, "10:01 a fault", *trace, "ValueError: none"]
    assert logged_errors(lines) == ["ValueError: none"]
