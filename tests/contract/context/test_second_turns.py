"""A second turn over every type of item: the history that a strict model server is sent is one that it accepts."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from harness.answers import ok
from harness.conversations import add, create, user
from harness.tools import script
from harness.turns import TIME, WEATHER, check_stored, input_items, messages_for, post, turn
from scripted_model import ScriptedModel

PIXEL = "data:image/png;base64,aGVsbG8="
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}

HELD: dict[str, list[dict[str, Any]]] = {
    "user": [user("hi")],
    "system": [{"role": "system", "content": "hi"}],
    "developer": [{"role": "developer", "content": [{"type": "input_text", "text": "hi"}]}],
    "assistant": [{"role": "assistant", "content": "hi", "phase": "commentary"}],
    "refusal": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    "empty": [{"role": "assistant", "content": [{"type": "output_text", "text": "", "annotations": []}]}],
    "image": [user([{"type": "input_image", "image_url": PIXEL}])],
    "file": [user([{"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}])],
    "function_call": [
        {"type": "function_call", "call_id": "c" * 64, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c" * 64, "output": "42"},
    ],
    "function_call of parts": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": PIXEL}]},
    ],
    "custom_tool_call": [
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "y"},
    ],
    "reasoning": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"role": "assistant", "content": "hi"},
    ],
    "reasoning sealed elsewhere": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}],
    "compaction": [{"type": "compaction", "encrypted_content": "gAAA"}],
    "file_search_call": [
        {
            "type": "file_search_call",
            "id": "fs_1",
            "status": "completed",
            "queries": ["q"],
            "results": [{"file_id": "file_1", "text": "found", "score": 0.5}],
        },
    ],
    "web_search_call": [
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "q"},
        }
    ],
    "image_generation_call": [
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGVsbG8="}
    ],
    "code_interpreter_call": [
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "status": "completed",
            "container_id": "cntr_1",
            "code": "1+1",
            "outputs": [{"type": "logs", "logs": "2"}],
        }
    ],
    "computer_call": [
        {
            "type": "computer_call",
            "id": "cu_1",
            "call_id": "c",
            "status": "completed",
            "pending_safety_checks": [],
            "action": {"type": "screenshot"},
        },
        {
            "type": "computer_call_output",
            "call_id": "c",
            "output": {"type": "computer_screenshot", "image_url": PIXEL},
        },
    ],
    "local_shell_call": [
        {
            "type": "local_shell_call",
            "id": "lsh_1",
            "call_id": "c",
            "status": "completed",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {"type": "local_shell_call_output", "id": "c", "output": "{}"},
    ],
    "shell_call": [
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
        {
            "type": "shell_call_output",
            "call_id": "c",
            "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
    ],
    "apply_patch_call": [
        {
            "type": "apply_patch_call",
            "call_id": "c",
            "status": "completed",
            "operation": {"type": "delete_file", "path": "a"},
        },
        {"type": "apply_patch_call_output", "call_id": "c", "status": "completed"},
    ],
    "mcp_list_tools": [{"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []}],
    "mcp_approval_request": [
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "n", "arguments": "{}"}
    ],
    "mcp_approval_response": [
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "n", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False},
    ],
    "mcp_call": [
        {
            "type": "mcp_call",
            "id": "mcp_" + "1" * 48,
            "server_label": "s",
            "name": "files.read/all",
            "arguments": "{}",
            "output": "42",
        }
    ],
    "mcp_call failed": [
        {
            "type": "mcp_call",
            "id": "mcp_1",
            "server_label": "s",
            "name": "n",
            "arguments": "{}",
            "error": {"type": "mcp_protocol_error", "code": 1, "message": "no"},
        }
    ],
    "mcp_call without answer": [
        {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "n", "arguments": "{}"}
    ],
    "tool_search": [
        {"type": "tool_search_call", "arguments": {"q": "x"}},
        {"type": "tool_search_output", "tools": [TOOL]},
    ],
    "additional_tools": [{"type": "additional_tools", "role": "developer", "tools": [TOOL]}],
    "program": [
        {"type": "program", "id": "cm_1", "call_id": "c", "code": "1", "fingerprint": "f"},
        {"type": "program_output", "id": "cmo_1", "call_id": "c", "result": "1", "status": "completed"},
    ],
}


@pytest.mark.parametrize("kind", HELD)
@pytest.mark.parametrize("how", ["conversation", "input", "chain"])
def test_a_history_with_every_type_of_item_is_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str, kind: str, how: str
) -> None:
    items, last = HELD[kind], user(f"Go on. tag={tag}")
    if how == "conversation":
        conversation_id = create(http, [user("Before")])
        add(http, conversation_id, items)
        response = turn(http, "echo", [last], conversation=conversation_id)
    elif how == "input":
        response = turn(http, "echo", [user("Before"), *items, last])
    else:
        first = turn(http, "echo", [user("Before"), *items])
        response = turn(http, "echo", [last], previous_response_id=first["id"])
    assert response["status"] == "completed"
    messages = messages_for(model, tag)
    assert (messages[-1]["role"], messages[-1]["content"]) == ("user", f"Go on. tag={tag}")
    for message in messages:
        for call in message.get("tool_calls", ()):
            assert len(call["id"]) <= 40
            json.loads(call["function"]["arguments"] or "{}")
    assert len(input_items(http, response["id"])) >= len(items) + 2


MADE = ["echo", "reasoning", "reasoning-alt", "refusal", "length", "content-filter", "empty", "unicode", "logprobs"]
CALLING = [
    "tool",
    "parallel-tools",
    "text-and-tool",
    "reasoning-tool",
    "tool-no-id",
    "tool-whole",
    "tool-bad-arguments",
]


@pytest.mark.parametrize("mode", [*MADE, *CALLING, "tool-bad-arguments"])
@pytest.mark.parametrize("kept", ["conversation", "chain", "replay"])
def test_whatever_a_turn_makes_the_next_is_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str, mode: str, kept: str
) -> None:
    history: dict[str, Any] = {"conversation": create(http)} if kept == "conversation" else {}
    sealed = {"include": ["reasoning.encrypted_content"], "tools": [WEATHER, TIME]}
    first = turn(http, mode, "Hello", **history, **sealed)
    outputs: list[Any] = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "done"}
        for item in first["output"]
        if item["type"] == "function_call"
    ]
    said = [*outputs, user(f"Go on. tag={tag}")]
    if kept == "replay":
        said = [user("Hello"), *first["output"], *said]
    elif kept == "chain":
        history = {"previous_response_id": first["id"]}
    turn(http, "echo", said, **history)
    roles = [message["role"] for message in messages_for(model, tag)]
    assert roles == ["user", "assistant", *["tool"] * len(outputs), "user"]


def test_a_custom_call_and_a_compaction_made_by_turns_are_accepted(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    fields = {"conversation": conversation_id, "tools": [{"type": "custom", "name": "run"}]}
    first = turn(http, "scripted", script(model, tag, [("run", {"input": "x"})]), **fields)
    output = {"type": "custom_tool_call_output", "call_id": first["output"][0]["call_id"], "output": "y " * 3000}
    threshold = [{"type": "compaction", "compact_threshold": 1000}]
    answer = post(http, "echo", [output, user("Go on.")], context_management=threshold, **fields)
    second = ok(answer)
    assert [item["type"] for item in second["output"]] == ["compaction", "message"]
    check_stored(http, second, stored=True)
    turn(http, "echo", f"And on. tag={tag}-last", conversation=conversation_id)
    assert messages_for(model, f"{tag}-last")[0]["role"] == "system"
