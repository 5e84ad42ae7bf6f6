"""Items become what is stored and served: ids, the fields that a stored form always has, and what ``include`` shows."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import validate_type
from openai.types.conversations import ConversationItem, Message
from openai.types.responses import ResponseFunctionToolCallOutputItem
from pydantic import ValidationError

from llama_conversations.errors import InvalidParameter
from llama_conversations.ids import partition_of
from llama_conversations.services.items import (
    apply_include,
    check_id_prefix,
    id_prefix,
    masked,
    prepare_item,
)
from llama_conversations.services.plain_messages import plain_of
from llama_conversations.storage.records import ItemRecord
from llama_conversations.wire.content import MAX_TEXT
from llama_conversations.wire.items import INCLUDABLE, INPUT_ITEM, ITEM_TYPES, FunctionCall, plain_message
from unit.wire.item_samples import ALL, INPUT_FILE, INPUT_IMAGE, KNOWN_TO_THE_CLIENT, LOGPROB, OUTPUT_TEXT, REQUIRED

PARTITION = "0a1b2c3d"
IMAGES = "message.input_image.image_url"


def prepared(item: object) -> ItemRecord:
    return prepare_item(INPUT_ITEM.validate_python(item), PARTITION)


def stored(item: object) -> dict[str, Any]:
    return json.loads(prepared(item).data)


def message(*parts: object, role: str = "user") -> dict[str, object]:
    return {"id": "msg_1", "role": role, "content": list(parts)}


def refused(item: object) -> InvalidParameter:
    with pytest.raises(InvalidParameter) as caught:
        prepared(item)
    return caught.value


def test_a_string_becomes_one_typed_part():
    item = prepared({"role": "user", "content": "hi"})
    assert json.loads(item.data) == {
        "id": item.id,
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    assert (item.type, item.masked, item.client_id) == ("message", None, False)


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_roles_stay_as_they_are(role):
    assert stored({"role": role, "content": ""}) | {"id": ""} == {
        "id": "",
        "type": "message",
        "status": "completed",
        "role": role,
        "content": [{"type": "input_text", "text": ""}],
    }


def test_an_assistants_string_becomes_output_text():
    assert stored({"role": "assistant", "content": "hi"})["content"] == [
        {"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}
    ]


def test_output_text_always_has_both_lists():
    part = {"type": "output_text", "text": "hi", "annotations": None}
    assert stored(message(part, role="assistant"))["content"] == [
        {"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}
    ]


def test_an_image_always_has_its_three_fields():
    assert stored(message({"type": "input_image", "file_id": "file_1"}))["content"] == [
        {"type": "input_image", "file_id": "file_1", "detail": "auto", "image_url": None}
    ]
    assert stored(message({"type": "input_image", "detail": None, "image_url": "u"}))["content"] == [
        {"type": "input_image", "detail": "auto", "image_url": "u", "file_id": None}
    ]


def test_a_file_always_has_its_id_and_name():
    assert stored(message({"type": "input_file", "file_url": "u"}))["content"] == [
        {"type": "input_file", "file_url": "u", "file_id": None, "filename": None}
    ]


def test_parts_of_a_tools_output_are_stored_like_those_of_a_message():
    output = [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "u"}, {"type": "input_file"}]
    for kind in ("function_call_output", "custom_tool_call_output"):
        assert stored(REQUIRED[kind] | {"output": output})["output"] == [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": "u", "detail": "auto", "file_id": None},
            {"type": "input_file", "file_id": None, "filename": None},
        ]


@pytest.mark.parametrize("kind", [kind for kind in REQUIRED if "id" not in REQUIRED[kind]])
def test_an_absent_id_is_made_from_the_type_and_the_partition(kind):
    for sent in (REQUIRED[kind], REQUIRED[kind] | {"id": None}):
        item = prepared(sent)
        assert item.id.startswith(f"{ITEM_TYPES[kind].prefix}_{PARTITION}")
        assert partition_of(item.id) == PARTITION
        assert len(item.id.split("_")[1]) == 48
        assert json.loads(item.data)["id"] == item.id
        assert not item.client_id


def test_a_clients_id_is_kept():
    item = prepared({"id": "my-own_ID", "role": "user", "content": "x"})
    assert (item.id, item.client_id) == ("my-own_ID", True)
    assert json.loads(item.data)["id"] == "my-own_ID"


def test_each_item_gets_an_id_of_its_own():
    assert len({prepared(REQUIRED["message"]).id for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "kind",
    [
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "computer_call_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
    ],
)
def test_an_absent_status_is_completed(kind):
    assert stored(REQUIRED[kind])["status"] == "completed"
    assert stored(REQUIRED[kind] | {"status": None})["status"] == "completed"
    assert stored(REQUIRED[kind] | {"status": "incomplete"})["status"] == "incomplete"


def test_reasoning_is_stored_without_status():
    item = REQUIRED["reasoning"]
    assert stored(item) == item
    assert stored(item | {"status": "completed"}) == item
    assert stored(item | {"status": None, "content": None}) == item | {"content": None}


@pytest.mark.parametrize(
    ("kind", "added"),
    [
        ("shell_call", {"environment": None}),
        ("shell_call_output", {"max_output_length": None}),
        ("tool_search_call", {"call_id": None, "execution": "client"}),
        ("tool_search_output", {"call_id": None, "execution": "client"}),
    ],
)
def test_types_have_the_fields_that_their_stored_form_requires(kind, added):
    item = prepared(REQUIRED[kind])
    assert json.loads(item.data) == REQUIRED[kind] | {"id": item.id, "status": "completed"} | added


ADDED = {
    "status": "completed",
    "environment": None,
    "max_output_length": None,
    "call_id": None,
    "execution": "client",
}


@pytest.mark.parametrize("kind", [kind for kind in REQUIRED if kind != "message"])
def test_nothing_else_is_added_and_nothing_is_lost(kind):
    item = prepared(REQUIRED[kind])
    data = json.loads(item.data)
    assert data.items() >= REQUIRED[kind].items()
    added = {key: value for key, value in data.items() if key not in REQUIRED[kind] and key != "id"}
    assert added.items() <= ADDED.items()
    assert set(added) == set(ITEM_TYPES[kind].stored) - set(REQUIRED[kind])


@pytest.mark.parametrize("item", ALL, ids=lambda item: item["type"])
def test_a_stored_item_is_accepted_again_and_stored_as_the_same_text(item):
    first = prepared(item)
    assert prepare_item(INPUT_ITEM.validate_json(first.data), "ffffffff").data == first.data
    shown = masked(first.data)
    assert prepare_item(INPUT_ITEM.validate_json(shown), "ffffffff").data == shown


@given(
    st.sampled_from(ALL),
    st.permutations(["type", "text", "detail", "file_id", "image_url", "filename", "annotations", "logprobs"]),
    st.sampled_from(["input_image", "input_file", "output_text", "computer_screenshot"]),
    st.data(),
)
def test_the_same_text_is_stored_whatever_was_left_out_at_first(item, order, kind, data):
    optional = sorted(set(item) & {"status", "call_id", "execution", "environment", "max_output_length"})
    dropped = data.draw(st.sets(st.sampled_from(optional))) if optional else set()
    smaller = {key: value for key, value in item.items() if key not in dropped or key in REQUIRED[str(item["type"])]}
    whole = {"type": kind, "text": "a", "detail": "low", "annotations": [], "logprobs": []}
    part = {key: whole.get(key) for key in order[: data.draw(st.integers(0, 8))]} | {"type": kind, "text": "a"}
    for sent in (smaller, message(part)):
        first = prepared(sent).data
        assert prepared(json.loads(first)).data == first


@pytest.mark.parametrize("item", KNOWN_TO_THE_CLIENT, ids=lambda item: item["type"])
def test_the_official_client_takes_stored_items_in_its_strict_mode(item):
    data = prepared(item).data
    for text in (data, masked(data)):
        parsed: Any = validate_type(type_=ConversationItem, value=json.loads(text))
        assert parsed.type == item["type"]
        assert isinstance(parsed, Message) == (item["type"] == "message")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client's own unions warn when they are written
            assert parsed.to_dict(mode="json", exclude_unset=True) == json.loads(text)


def test_the_official_clients_classes_take_the_stored_forms():
    Message.model_validate(stored({"role": "assistant", "content": "hi"}), strict=True)
    ResponseFunctionToolCallOutputItem.model_validate(stored(REQUIRED["function_call_output"]), strict=True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.text(),
    st.sampled_from([item for item in REQUIRED.values() if item["type"] != "message"]),
)
def test_unknown_fields_and_texts_are_stored_as_they_were(extra, text, item):
    kept = stored(item | {"x-extra": extra})
    assert json.dumps(kept["x-extra"]) == json.dumps(extra)
    said = stored(message({"type": "input_text", "text": text, "x": extra}) | {"y": extra})
    assert json.dumps([said["content"], said["y"]]) == json.dumps(
        [[{"type": "input_text", "text": text, "x": extra}], extra]
    )


def test_integers_of_any_size_are_stored():
    assert stored(REQUIRED["function_call"] | {"n": [2**64, -(10**300)]})["n"] == [2**64, -(10**300)]


def test_nul_characters_stay_escaped_in_the_text():
    data = prepared({"role": "user", "content": "a\x00b", "x\x00": "\x00"}).data
    assert "\x00" not in data
    assert r"a\u0000b" in data
    assert json.loads(data)["content"][0]["text"] == "a\x00b"


def test_an_item_nested_as_deeply_as_a_body_may_be_is_stored_and_read():
    deep: object = "x"
    for _ in range(190):
        deep = [deep]
    data = prepared(REQUIRED["function_call"] | {"deep": deep}).data
    assert json.loads(apply_include(data, ()))["deep"] == deep


def test_an_items_keys_begin_with_what_a_reader_looks_for():
    data = stored({"content": "x", "zzz": 1, "role": "assistant", "phase": "commentary", "id": "msg_1"})
    assert list(data) == ["id", "type", "status", "role", "content", "phase", "zzz"]
    assert list(stored(REQUIRED["shell_call"]))[:3] == ["id", "type", "status"]


def test_an_item_made_in_python_is_stored_like_one_that_came_in():
    item = FunctionCall(type="function_call", call_id="call_1", name="f", arguments="{}")
    new = prepare_item(item, PARTITION)
    assert json.loads(new.data) == REQUIRED["function_call"] | {"id": new.id, "status": "completed"}


def test_reasoning_needs_an_id_or_encrypted_content():
    error = refused({"type": "reasoning", "summary": []})
    assert (error.code, error.param) == ("invalid_item", "item")
    assert refused({"type": "reasoning", "id": None, "encrypted_content": None, "summary": []}).code == "invalid_item"
    new = prepared({"type": "reasoning", "encrypted_content": "gAAA", "summary": []})
    assert new.id.startswith("rs_")


def test_a_trigger_of_compaction_cannot_be_stored():
    trigger = INPUT_ITEM.validate_python({"type": "compaction_trigger"})
    with pytest.raises(InvalidParameter, match="'compaction_trigger' cannot be stored") as caught:
        prepare_item(trigger, PARTITION, "items[1]")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "items[1]")


def test_a_reference_that_was_not_resolved_is_a_bug():
    with pytest.raises(TypeError):
        prepared({"id": "msg_1"})


# ----------------------------------------------------------------------------------------------------- include

HIDDEN = [
    (message(INPUT_IMAGE), IMAGES, message(INPUT_IMAGE | {"image_url": None})),
    (
        message(INPUT_FILE),
        IMAGES,
        message({key: value for key, value in INPUT_FILE.items() if key != "file_data"}),
    ),
    (
        message(OUTPUT_TEXT, role="assistant"),
        "message.output_text.logprobs",
        message(OUTPUT_TEXT | {"logprobs": []}, role="assistant"),
    ),
    (
        REQUIRED["file_search_call"] | {"results": [{"file_id": "file_1"}]},
        "file_search_call.results",
        REQUIRED["file_search_call"] | {"results": None},
    ),
    (
        REQUIRED["code_interpreter_call"] | {"outputs": [{"type": "logs", "logs": "1"}]},
        "code_interpreter_call.outputs",
        REQUIRED["code_interpreter_call"] | {"outputs": None},
    ),
]


@pytest.mark.parametrize(("item", "include", "shown"), HIDDEN, ids=[include for _, include, _ in HIDDEN])
def test_what_is_hidden_is_shown_to_who_includes_it(item, include, shown):
    new = prepared(item)
    whole, without = json.loads(new.data), stored(shown)
    assert whole != without
    assert new.masked is not None
    assert json.loads(new.masked) == without
    assert masked(new.data) == new.masked
    assert json.loads(apply_include(new.data, [include])) == whole
    others = [other for other in INCLUDABLE if other != include]
    assert json.loads(apply_include(new.data, others)) == without
    assert apply_include(new.data, INCLUDABLE) == new.data


def test_each_part_is_hidden_for_itself():
    item = message(INPUT_IMAGE, {"type": "input_text", "text": "a"}, OUTPUT_TEXT)
    shown = json.loads(apply_include(prepared(item).data, [IMAGES]))["content"]
    assert shown[0]["image_url"] == INPUT_IMAGE["image_url"]
    assert shown[1] == {"type": "input_text", "text": "a"}
    assert shown[2]["logprobs"] == []
    assert json.loads(apply_include(prepared(item).data, ["message.output_text.logprobs"]))["content"][2][
        "logprobs"
    ] == [LOGPROB]


@pytest.mark.parametrize(
    "item",
    [
        REQUIRED["message"],
        REQUIRED["message"] | {"content": []},
        message({"type": "input_image", "file_id": "file_1"}),
        message({"type": "input_file", "file_id": "file_1"}),
        message({"type": "output_text", "text": "a"}, role="assistant"),
        REQUIRED["file_search_call"],
        REQUIRED["file_search_call"] | {"results": None},
        REQUIRED["code_interpreter_call"],
        REQUIRED["computer_call_output"],
        REQUIRED["reasoning"] | {"encrypted_content": "gAAA"},
        REQUIRED["web_search_call"]
        | {"action": {"type": "search", "sources": [{"type": "url", "url": "https://example.com"}]}},
        REQUIRED["function_call_output"] | {"output": [INPUT_IMAGE, INPUT_FILE]},
    ],
    ids=lambda item: item.get("type"),
)
def test_where_nothing_is_hidden_there_is_one_text(item):
    new = prepared(item)
    assert new.masked is None
    assert masked(new.data) == new.data


@given(st.sampled_from(ALL), st.sets(st.sampled_from(INCLUDABLE)))
def test_every_view_hides_no_more_than_the_view_for_nothing(item, include):
    new = prepared(item)
    view = apply_include(new.data, include)
    assert masked(view) == masked(new.data)
    assert apply_include(view, include) == view


# -------------------------------------------------------------------------------------------------- id prefixes


def test_prefixes_are_those_of_the_api():
    assert {kind: id_prefix(kind) for kind in ("message", "function_call", "reasoning", "mcp_call", "program")} == {
        "message": "msg",
        "function_call": "fc",
        "reasoning": "rs",
        "mcp_call": "mcp",
        "program": "cm",
    }


@pytest.mark.parametrize("kind", ["item_reference", "compaction_trigger", "nope"])
def test_what_is_never_stored_has_no_prefix(kind):
    with pytest.raises(LookupError):
        id_prefix(kind)


def test_an_id_of_another_type_is_refused_in_a_turns_input():
    item = INPUT_ITEM.validate_python(REQUIRED["message"] | {"id": "rs_1"})
    with pytest.raises(InvalidParameter) as caught:
        check_id_prefix(item, "input[3]")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "input[3].id")
    assert caught.value.message == "Invalid 'input[3].id': 'rs_1'. Expected an ID that begins with 'msg'."


@pytest.mark.parametrize(
    "item",
    [
        *(REQUIRED[kind] for kind in REQUIRED),
        REQUIRED["message"] | {"id": "msg_1"},
        REQUIRED["function_call_output"] | {"id": "fc_1"},
        REQUIRED["mcp_approval_response"] | {"id": "whatever"},
        {"id": "whatever"},
        {"type": "compaction_trigger"},
    ],
    ids=str,
)
def test_ids_that_fit_or_whose_prefix_nobody_knows_pass(item):
    check_id_prefix(INPUT_ITEM.validate_python(item), "input[0]")


@pytest.mark.parametrize("kind", REQUIRED)
def test_the_ids_that_are_made_pass_their_own_check(kind):
    item = json.loads(prepared(REQUIRED[kind]).data)
    check_id_prefix(INPUT_ITEM.validate_python(item), "input[0]")


@given(
    st.sampled_from(["user", "system", "assistant"]),
    st.one_of(
        st.text(),
        st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["input_text", "output_text", "refusal"]), "text": st.text()},
                optional={"annotations": st.sampled_from([None, []]), "logprobs": st.sampled_from([[], [LOGPROB]])},
            ).map(lambda part: part | ({"refusal": part["text"]} if part["type"] == "refusal" else {})),
            max_size=3,
        ),
    ),
    st.fixed_dictionaries(
        {}, optional={"id": st.just("msg_1"), "status": st.sampled_from([None, "incomplete"]), "more": st.just(1)}
    ),
)
def test_a_plain_message_is_stored_as_any_other(role: str, content: Any, fields: dict[str, Any]) -> None:
    """Be it read by its model, or without one: then what its model refuses is no plain message."""
    given = {"type": "message", "role": role, "content": content, **fields}
    read = plain_message(given)
    try:
        item = INPUT_ITEM.validate_python(given)
    except ValidationError:
        assert read is None
        return
    assert plain_of(item) == read or read is None
    if plain_of(item) is None:
        return
    quick = prepare_item(item, PARTITION)
    general = prepare_item(item.model_copy(update={"id": quick.id, "unknown": 1}), PARTITION)
    assert general.data == quick.data.removesuffix("}") + ',"unknown":1}'
    assert (general.type, general.masked, quick.client_id) == (quick.type, quick.masked, "id" in fields)
    assert quick.id.startswith(f"msg_{PARTITION}") or "id" in fields
    if read is not None:
        assert without_id(prepare_item(read, PARTITION)) == without_id(quick)


def without_id(record: ItemRecord) -> str:
    return record.data.replace(record.id, "")


def test_messages_that_are_more_than_text_are_not_plain():
    plain = {"role": "user", "content": [{"type": "input_text", "text": "a"}]}
    assert plain_of(INPUT_ITEM.validate_python(plain))
    assert plain_message(plain)
    for part in ({"type": "input_text", "text": "a", "b": 1}, INPUT_IMAGE, OUTPUT_TEXT | {"logprobs": [LOGPROB]}):
        item = {"role": "assistant", "content": [part]}
        assert plain_of(INPUT_ITEM.validate_python(item)) is None
        assert plain_message(item) is None
    assert plain_of(INPUT_ITEM.validate_python(REQUIRED["reasoning"])) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        [],
        {},
        REQUIRED["reasoning"],
        {"role": [], "content": "a"},
        {"role": "tool", "content": "a"},
        {"role": "user", "content": None},
        {"role": "user", "content": "a", "type": None},
        {"role": "user", "content": "a", "status": "done"},
        {"role": "user", "content": "a", "id": "msg_1"},
        {"role": "user", "content": ["a"]},
        {"role": "user", "content": [{"type": "input_text", "text": 1}]},
        {"role": "user", "content": [{"type": "output_text", "text": "a", "annotations": 0}]},
        {"role": "user", "content": [{"type": "output_text", "text": "a", "logprobs": False}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a" * (MAX_TEXT + 1)}]},
    ],
    ids=lambda value: str(value)[:60],
)
def test_whatever_is_not_surely_a_plain_message_is_left_to_its_model(value: object) -> None:
    assert plain_message(value) is None
