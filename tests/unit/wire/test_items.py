"""Items: every type parses and is written back as it came; which type an item is of is told by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from llama_conversations.errors import InvalidParameter
from llama_conversations.wire.base import OpenModel
from llama_conversations.wire.content import InputText, OutputText
from llama_conversations.wire.items import (
    INPUT_ITEM,
    ITEM_TYPES,
    AssistantMessage,
    FunctionCall,
    InputItem,
    InputItems,
    InputMessage,
    ItemReference,
    Message,
    StoredItem,
)
from llama_conversations.wire.validation import invalid_parameter, parse_value
from unit.wire.item_samples import ALL, REQUIRED

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def written(item: object) -> object:
    return INPUT_ITEM.dump_python(item, exclude_unset=True)


def refused(item: object) -> InvalidParameter:
    body = {"items": [item]}
    adapter: TypeAdapter[dict[str, list[InputItem]]] = TypeAdapter(dict[str, InputItems])
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # pydantic's own, judged below
        adapter.validate_python(body)
    return invalid_parameter(caught.value, body)


@pytest.mark.parametrize("item", ALL, ids=lambda item: item["type"])
def test_every_type_is_written_back_as_it_came(item):
    assert written(INPUT_ITEM.validate_python(item)) == item
    text = json.dumps(item).encode()
    assert json.loads(INPUT_ITEM.dump_json(INPUT_ITEM.validate_json(text), exclude_unset=True)) == item


@pytest.mark.parametrize("item", ALL, ids=lambda item: item["type"])
def test_every_type_has_its_model(item):
    assert isinstance(INPUT_ITEM.validate_python(item), ITEM_TYPES[item["type"]].model)


def test_the_table_and_the_union_hold_the_same_types():
    assert set(REQUIRED) | {"compaction_trigger", "item_reference"} == set(ITEM_TYPES)
    assert "Supported values are: " in (words := refused({"type": "nope"}).message)
    assert all(f"'{item_type}'" in words for item_type in ITEM_TYPES)
    assert {name for name, kind in ITEM_TYPES.items() if not kind.storable} == {"compaction_trigger", "item_reference"}


@given(extra=st.dictionaries(st.text(min_size=1), JSON, max_size=4), index=st.integers(0, len(ALL) - 1))
def test_unknown_fields_come_back_as_they_were(extra, index):
    item = extra | ALL[index]
    known = set(ITEM_TYPES[str(ALL[index]["type"])].model.model_fields)
    item = {key: value for key, value in item.items() if key in ALL[index] or key not in known}
    text = json.dumps(item)
    again = json.loads(INPUT_ITEM.dump_json(INPUT_ITEM.validate_json(text), exclude_unset=True))
    assert json.dumps(again, sort_keys=True) == json.dumps(item, sort_keys=True)


@given(text=st.text())
def test_any_text_comes_back_as_it_was(text):
    item = INPUT_ITEM.validate_json(json.dumps({"role": "user", "content": [{"type": "input_text", "text": text}]}))
    assert json.loads(INPUT_ITEM.dump_json(item, exclude_unset=True))["content"][0]["text"] == text


def test_names_of_the_models_own_methods_are_ordinary_unknown_fields():
    item = REQUIRED["message"] | {"model_dump": 1, "__class__": 2, "copy": 3, "model_fields_set": 4, "self": 5}
    assert written(INPUT_ITEM.validate_python(item)) == item


def test_integers_of_any_size_come_back_in_unknown_fields():
    item = REQUIRED["message"] | {"n": 10**400}
    assert json.loads(INPUT_ITEM.dump_json(INPUT_ITEM.validate_json(json.dumps(item)), exclude_unset=True)) == item


def test_fields_are_read_by_name():
    call = INPUT_ITEM.validate_python(REQUIRED["function_call"])
    assert isinstance(call, FunctionCall)
    assert (call.call_id, call.name, call.arguments, call.id, call.status) == ("call_1", "f", "{}", None, None)
    message = INPUT_ITEM.validate_python({"role": "assistant", "content": [{"type": "output_text", "text": "hello"}]})
    assert isinstance(message, Message)
    assert message.role == "assistant"
    assert isinstance(message.content, list)
    assert isinstance(part := message.content[0], OutputText)
    assert part.text == "hello"


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_without_a_type_a_role_makes_a_message(role):
    item = INPUT_ITEM.validate_python({"role": role, "content": "hi"})
    assert isinstance(item, InputMessage)
    assert item.type == "message"


def test_an_assistants_message_has_a_phase():
    item = INPUT_ITEM.validate_python({"role": "assistant", "content": "hi", "phase": "final_answer"})
    assert isinstance(item, AssistantMessage)
    assert item.phase == "final_answer"


@pytest.mark.parametrize(
    "item", [{"id": "msg_1"}, {"id": "msg_1", "type": None}, {"id": "m", "type": "item_reference"}]
)
def test_an_id_alone_is_a_reference(item):
    assert isinstance(reference := INPUT_ITEM.validate_python(item), ItemReference)
    assert reference.id == item["id"]
    assert written(reference) == item


def test_a_trigger_of_compaction_is_input():
    assert written(INPUT_ITEM.validate_python({"type": "compaction_trigger"})) == {"type": "compaction_trigger"}


def test_models_are_taken_for_what_they_are():
    message = InputMessage(role="user", content=[InputText(type="input_text", text="hi")])
    assert INPUT_ITEM.validate_python(message) is message
    assert written(message) == {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    assert INPUT_ITEM.validate_python(reference := ItemReference(id="msg_1")) is reference


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "nope"}, "invalid_value", "items[0]"),
        ({"type": "agent_message", "content": "x"}, "invalid_value", "items[0]"),
        ({"type": ""}, "invalid_value", "items[0]"),
        ({"role": "tool", "content": "x"}, "invalid_value", "items[0]"),
        ({"type": "message", "role": "critic", "content": "x"}, "invalid_value", "items[0]"),
        ({"type": 5}, "invalid_type", "items[0].type"),
        ({"type": ["message"]}, "invalid_type", "items[0].type"),
        ({"type": "message", "role": None, "content": "x"}, "invalid_type", "items[0].role"),
        ({}, "missing_required_parameter", "items[0].type"),
        ({"content": "x"}, "missing_required_parameter", "items[0].type"),
        ({"id": "msg_1", "content": "x"}, "missing_required_parameter", "items[0].type"),
        ({"type": "message", "content": "x"}, "missing_required_parameter", "items[0].role"),
        ({"type": "item_reference"}, "missing_required_parameter", "items[0].id"),
        ("hi", "invalid_type", "items[0]"),
        (None, "invalid_type", "items[0]"),
        ([], "invalid_type", "items[0]"),
    ],
    ids=str,
)
def test_what_is_no_item_is_refused(item, code, param):
    error = refused(item)
    assert (error.code, error.param) == (code, param)


REQUIRED_FIELDS = [
    (kind, field)
    for kind, item in REQUIRED.items()
    for field in item
    if field != "type" and (kind, field) not in {("reasoning", "id"), ("web_search_call", "action")}
]


@pytest.mark.parametrize(("kind", "field"), REQUIRED_FIELDS)
def test_a_missing_field_is_named(kind, field):
    error = refused({key: value for key, value in REQUIRED[kind].items() if key != field})
    assert (error.code, error.param) == ("missing_required_parameter", f"items[0].{field}")


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (REQUIRED["function_call"] | {"arguments": {}}, "invalid_type", "items[0].arguments"),
        (REQUIRED["function_call"] | {"call_id": 1}, "invalid_type", "items[0].call_id"),
        (REQUIRED["function_call"] | {"status": "done"}, "invalid_value", "items[0].status"),
        (REQUIRED["function_call"] | {"caller": {"type": "x"}}, "invalid_value", "items[0].caller.type"),
        (REQUIRED["function_call_output"] | {"output": 42}, "invalid_type", "items[0].output"),
        (REQUIRED["function_call_output"] | {"output": {"a": 1}}, "invalid_type", "items[0].output"),
        (
            REQUIRED["function_call_output"] | {"output": [{"type": "output_text", "text": "x"}]},
            "invalid_value",
            "items[0].output[0]",
        ),
        (REQUIRED["function_call_output"] | {"call_id": None}, "invalid_type", "items[0].call_id"),
        (REQUIRED["function_call_output"] | {"call_id": ""}, "string_below_min_length", "items[0].call_id"),
        (REQUIRED["function_call_output"] | {"call_id": "c" * 65}, "string_above_max_length", "items[0].call_id"),
        (REQUIRED["mcp_approval_response"] | {"approve": "yes"}, "invalid_type", "items[0].approve"),
        (REQUIRED["mcp_approval_response"] | {"approve": 1}, "invalid_type", "items[0].approve"),
        (REQUIRED["additional_tools"] | {"role": "user"}, "invalid_value", "items[0].role"),
        (REQUIRED["additional_tools"] | {"tools": ["f"]}, "invalid_type", "items[0].tools[0]"),
        (REQUIRED["web_search_call"] | {"action": {"type": "x"}}, "invalid_value", "items[0].action"),
        (REQUIRED["web_search_call"] | {"action": {}}, "missing_required_parameter", "items[0].action.type"),
        (REQUIRED["shell_call"] | {"action": {}}, "missing_required_parameter", "items[0].action.commands"),
        (
            REQUIRED["shell_call_output"] | {"output": [{"stdout": "", "stderr": "", "outcome": {"type": "exit"}}]},
            "missing_required_parameter",
            "items[0].output[0].outcome.exit_code",
        ),
        (REQUIRED["apply_patch_call_output"] | {"status": "in_progress"}, "invalid_value", "items[0].status"),
        (
            REQUIRED["reasoning"] | {"summary": [{"text": "x"}]},
            "missing_required_parameter",
            "items[0].summary[0].type",
        ),
        (REQUIRED["message"] | {"content": None}, "invalid_type", "items[0].content"),
        (REQUIRED["message"] | {"content": {"type": "input_text"}}, "invalid_type", "items[0].content"),
        (REQUIRED["message"] | {"content": ["x"]}, "invalid_type", "items[0].content[0]"),
        (REQUIRED["message"] | {"content": [{"type": "x"}]}, "invalid_value", "items[0].content[0]"),
        (REQUIRED["message"] | {"content": [{"text": "x"}]}, "missing_required_parameter", "items[0].content[0].type"),
        (
            REQUIRED["message"] | {"content": [{"type": "text", "text": "a"}, {"type": "text"}]},
            "missing_required_parameter",
            "items[0].content[1].text",
        ),
        (
            REQUIRED["message"] | {"content": [{"type": "output_text", "text": "x", "annotations": [{"type": "x"}]}]},
            "invalid_value",
            "items[0].content[0].annotations[0]",
        ),
        (
            REQUIRED["message"] | {"content": [{"type": "input_image", "detail": "huge"}]},
            "invalid_value",
            "items[0].content[0].detail",
        ),
        (
            REQUIRED["message"] | {"content": [{"type": "input_text", "text": "x" * 10_485_761}]},
            "string_above_max_length",
            "items[0].content[0].text",
        ),
        (REQUIRED["message"] | {"id": "m" * 65}, "string_above_max_length", "items[0].id"),
        (REQUIRED["message"] | {"id": ""}, "string_below_min_length", "items[0].id"),
        (REQUIRED["message"] | {"id": "msg 1"}, "invalid_value", "items[0].id"),
        (REQUIRED["message"] | {"id": "msg_1\n"}, "invalid_value", "items[0].id"),
        (REQUIRED["message"] | {"id": "msg_é"}, "invalid_value", "items[0].id"),
        (REQUIRED["message"] | {"id": 1}, "invalid_type", "items[0].id"),
        (REQUIRED["program"] | {"id": None}, "invalid_type", "items[0].id"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_field_that_does_not_fit_is_named(item, code, param):
    error = refused(item)
    assert (error.code, error.param) == (code, param)


def test_a_string_or_array_is_one_error():
    assert refused(REQUIRED["message"] | {"content": 5}).message == (
        "Invalid type for 'items[0].content': expected one of a string or array of objects, but got an integer instead."
    )


def test_a_bad_role_is_told_with_the_good_ones():
    assert refused({"role": "critic", "content": "x"}).message == (
        "Invalid value: 'critic'. Supported values are: 'user', 'system', 'developer', and 'assistant'."
    )


def test_a_stored_item_parses_to_its_model():
    stored = StoredItem.model_validate_json('{"id":"msg_1","type":"message","role":"user","content":[],"x":1}')
    assert isinstance(stored.root, InputMessage)
    assert stored.model_dump_json(exclude_unset=True) == (
        '{"id":"msg_1","type":"message","role":"user","content":[],"x":1}'
    )


@pytest.mark.parametrize("item", [{"type": "item_reference", "id": "msg_1"}, {"type": "compaction_trigger"}])
def test_what_is_never_stored_is_no_stored_item(item):
    with pytest.raises(InvalidParameter):
        parse_value(TypeAdapter(StoredItem), item, "item")


def test_every_item_has_a_schema():
    schema = TypeAdapter(InputItem).json_schema()
    assert {"InputMessage", "ProgramOutput", "InputImage"} <= set(schema["$defs"])


def test_no_model_of_an_item_drops_what_it_does_not_know():
    assert all(issubclass(kind.model, OpenModel) for kind in ITEM_TYPES.values())
