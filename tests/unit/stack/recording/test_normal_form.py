"""Requests that mean the same to a model have one normal form; requests that do not, have not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.ids import new_call_id, new_id
from llama_conversations.stack.recording.normal_form import (
    CALL_ID_FIELDS,
    CALLER_FIELDS,
    MIN_BLOB,
    normal_request,
)

DOCS = Path(__file__).parents[4] / "docs" / "testing.md"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def form(request: Any) -> Any:
    return normal_request(json.dumps(request).encode()).form


def digest(request: Any) -> str:
    return normal_request(json.dumps(request).encode()).digest


def turns(call_id: str, text: str = "Weather?") -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "22 degrees"},
    ]
    return {"model": "m", "messages": messages}


def test_the_order_of_keys_and_white_space_are_nothing() -> None:
    one = normal_request(b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}')
    other = normal_request(b'{ "messages": [ {"content": "Hi", "role": "user"} ], "model": "m" }')
    assert one == other
    assert json.dumps(one.form) == json.dumps(other.form)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": "a"}, {"model": "b"}),
        ({"messages": [1, 2]}, {"messages": [2, 1]}),
        ({"temperature": 0.5}, {"temperature": 0.6}),
        ({"stop": None}, {}),
        ({"logprobs": True}, {"logprobs": 1}),
        ({"seed": 1}, {"seed": "1"}),
        ({"content": "a b"}, {"content": "a  b"}),
    ],
)
def test_what_may_change_the_answer_is_not_alike(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert digest({"temperature": 1}) == normal_request(b'{"temperature": 1.0}').digest
    assert form({"big": 10**30, "small": 1e-300}) == {"big": 10**30, "small": 1e-300}


@pytest.mark.parametrize("field", sorted(CALLER_FIELDS))
def test_who_asks_changes_nothing(field: str) -> None:
    assert digest({"model": "m", field: "ada"}) == digest({"model": "m", field: "bob"})
    assert form({field: "ada"}) == {field: f"<{field}>"}
    assert form({"metadata": {field: "ada"}}) == {"metadata": {field: "ada"}}


def test_the_ids_of_calls_are_numbered_as_they_appear_whoever_made_them() -> None:
    messages = form(turns("call_paris"))["messages"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "<call_1>"
    assert digest(turns("call_paris")) == digest(turns(new_call_id())) == digest(turns("9-letter"))
    items = [{"type": "function_call", "call_id": "x"}, {"type": "function_call_output", "call_id": "y"}]
    assert [item["call_id"] for item in form({"input": items})["input"]] == ["<call_1>", "<call_2>"]


def test_which_call_an_output_belongs_to_is_kept() -> None:
    def request(*ids: str) -> Any:
        return {"messages": [{"tool_call_id": identifier} for identifier in ids]}

    assert digest(request("a", "b", "a")) == digest(request("x", "y", "x"))
    assert digest(request("a", "b", "a")) != digest(request("a", "b", "b"))


def test_a_tool_s_own_fields_are_no_ids() -> None:
    schema = {"properties": {"call_id": {"type": "string"}, "id": {"default": "x"}}, "required": ["call_id", "id"]}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    assert form({"tools": tools}) == {"tools": tools}


def test_ids_that_this_server_makes_are_replaced_wherever_they_stand() -> None:
    conversation, response, message = new_id("conv"), new_id("resp"), new_id("msg")
    text = f"In {conversation}: see {response}, {message} and {new_id('msg')}; {conversation} again, {new_call_id()}."
    assert form({"content": text}) == {
        "content": "In <conv_1>: see <resp_1>, <msg_1> and <msg_2>; <conv_1> again, <call_1>."
    }


@pytest.mark.parametrize(
    "text",
    [
        "order_507f1f77bcf86cd799439011",
        "msg_" + "a" * 32,
        "MSG_" + "a" * 48,
        "x" + "msg_" + "g" * 48,
        "msg_" + "a" * 51,
        "call_" + "a" * 23,
        "my_call_" + "a" * 24,
        "pmpt_" + "a" * 48,
        "a" * 48,
    ],
)
def test_what_only_looks_like_such_an_id_stays(text: str) -> None:
    assert form({"content": text}) == {"content": text}


def test_the_ids_of_input_items_are_replaced_whoever_made_them() -> None:
    items = [{"type": "reasoning", "id": "rs_short"}, {"type": "item_reference", "id": "rs_short"}, {"id": "x"}]
    assert [item["id"] for item in form({"input": items})["input"]] == ["<rs_1>", "<rs_1>", "<x_1>"]
    assert form({"prompt": {"id": "p"}}) == {"prompt": {"id": "p"}}


def test_files_and_sealed_texts_are_told_by_their_digest() -> None:
    blob = "QUJD" * (MIN_BLOB // 4)
    image = form({"image_url": {"url": f"data:image/png;base64,{blob}=="}})["image_url"]["url"]
    assert image.startswith(f"data:image/png;base64,<{MIN_BLOB + 2} characters, SHA-256 ")
    assert form({"data": blob}) != form({"data": "A" + blob[1:]})
    assert len(form({"data": blob})["data"]) < 120
    for text in (blob[1:], blob[:-4] + "a b.", "word " * MIN_BLOB):
        assert form({"data": text}) == {"data": text}


def test_no_credentials_for_a_tool_s_server_are_in_it() -> None:
    tool = {"type": "mcp", "server_label": "l", "connector_id": "c", "authorization": "hunter2"}
    assert form({"tools": [tool]}) == {"tools": [{**tool, "authorization": "<secret>"}]}
    assert digest({"tools": [tool]}) == digest({"tools": [{**tool, "authorization": "another"}]})


@given(JSON)
def test_any_request_has_a_normal_form_which_is_its_own(value: Any) -> None:
    once = normal_request(json.dumps(value).encode())
    again = normal_request(json.dumps(once.form).encode())
    assert again == once
    assert len(once.digest) == 16


def test_half_a_surrogate_pair_does_no_harm() -> None:
    assert normal_request(b'{"content": "\\ud83d"}').form == {"content": "\ud83d"}


def test_a_request_that_is_no_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        normal_request(b"")


def test_the_documentation_names_everything_that_is_made_alike() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in (*CALLER_FIELDS, *CALL_ID_FIELDS, "tool_calls[].id", "input[].id", f"{MIN_BLOB} characters"):
        assert name in text, name
