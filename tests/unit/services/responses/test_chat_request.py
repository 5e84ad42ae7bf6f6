"""A turn's parameters as those of a chat completion."""

from __future__ import annotations

import orjson
import pytest

from harness.event_stream import JsonObject
from llama_conversations.services.responses.chat_request import chat_request
from llama_conversations.services.responses.toolbox import Toolbox
from unit.services.responses.support import NO_TOOLS, ScriptedModel, request, toolbox, turn_of

MESSAGE = b'{"role":"user","content":"Hi"}'
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
TELL = {"type": "function", "name": "tell", "description": "Tells."}
SCHEMA = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}


def sent(**fields: object) -> JsonObject:
    """What goes to the model server beside the model's name and the messages."""
    box = Toolbox(request(**fields).tools or (), NO_TOOLS)
    body: JsonObject = orjson.loads(chat_request(turn_of(ScriptedModel(), **fields), [MESSAGE], box))
    assert body.pop("model") == "upstream/gpt"
    assert body.pop("messages") == [orjson.loads(MESSAGE)]
    return body


def chat_tool(**fields: object) -> JsonObject:
    return {"type": "function", "function": fields}


def test_what_the_caller_leaves_out_is_left_to_the_model_server() -> None:
    assert sent() == {}
    nothing = ("tools", "text", "reasoning", "temperature", "metadata", "top_logprobs", "include", "tool_choice")
    assert sent(**dict.fromkeys(nothing)) == {}
    assert sent(tools=[], include=[], service_tier="auto", metadata={"a": "b"}, instructions="x", store=False) == {}


def test_the_messages_come_first_and_are_passed_on_byte_by_byte() -> None:
    body = chat_request(turn_of(ScriptedModel()), [MESSAGE, MESSAGE], toolbox())
    assert body.startswith(b'{"messages":[%b,%b],' % (MESSAGE, MESSAGE))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5),
        ("temperature", 0),
        ("top_p", 0.1),
        ("presence_penalty", -1.0),
        ("frequency_penalty", 0.25),
        ("user", "u"),
        ("safety_identifier", "s"),
        ("prompt_cache_key", "k"),
        ("prompt_cache_retention", "24h"),
        ("prompt_cache_options", {"a": 1}),
        ("service_tier", "flex"),
    ],
)
def test_what_has_the_same_name_is_passed_on(name: str, value: object) -> None:
    assert sent(**{name: value}) == {name: value}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 16}, {"max_tokens": 16}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"summary": "auto"}}, {}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": SCHEMA}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 0}, {}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True, "top_logprobs": 0}),
    ],
)
def test_what_has_another_name_is_said_in_the_chats_words(fields: JsonObject, expected: JsonObject) -> None:
    assert sent(**fields) == expected


def test_functions_are_offered_with_what_the_caller_gave_of_them() -> None:
    offered = [
        chat_tool(name="look", parameters={"type": "object"}, strict=True),
        chat_tool(name="tell", description="Tells."),
    ]
    assert sent(tools=[LOOK, TELL]) == {"tools": offered}
    assert sent(tools=[LOOK, TELL], parallel_tool_calls=False) == {"tools": offered, "parallel_tool_calls": False}


@pytest.mark.parametrize("choice", ["none", "auto", "required"])
def test_a_mode_of_choice_is_passed_on(choice: str) -> None:
    assert sent(tools=[TELL], tool_choice=choice)["tool_choice"] == choice


def test_a_function_that_must_be_called_is_named() -> None:
    body = sent(tools=[LOOK, TELL], tool_choice={"type": "function", "name": "tell"})
    assert body["tool_choice"] == {"type": "function", "function": {"name": "tell"}}
    assert len(body["tools"]) == 2


def test_of_allowed_tools_only_those_are_offered_that_are_allowed() -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "tell"}]}
    assert sent(tools=[LOOK, TELL], tool_choice=allowed) == {
        "tools": [chat_tool(name="tell", description="Tells.")],
        "tool_choice": "required",
    }


def test_without_tools_nothing_is_said_about_their_choice() -> None:
    assert sent(tool_choice="auto", parallel_tool_calls=True) == {}
