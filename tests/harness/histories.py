"""Items of every type that a conversation can hold, as clients send them, in exchanges that are whole."""

from __future__ import annotations

from typing import Any

import httpx2

from harness.conversations import add, create, user
from harness.turns import input_items, turn

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
    "audio": [user([{"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}}])],
    "parts of another role": [
        user([{"type": "output_text", "text": "hi", "annotations": []}]),
        {"role": "assistant", "content": [{"type": "input_text", "text": "hi"}, {"type": "text", "text": "ho"}]},
        {"role": "system", "content": [{"type": "text", "text": "hi"}]},
    ],
    "function_call": [
        {"type": "function_call", "call_id": "c" * 64, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c" * 64, "output": "42"},
    ],
    "function_call with arguments of no object": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"city":'},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "[1]"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
        {"type": "function_call_output", "call_id": "d", "output": "42"},
    ],
    "function_call cut off": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"city":', "status": "incomplete"},
        {"type": "custom_tool_call", "call_id": "d", "name": "f", "input": "pri", "status": "incomplete"},
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
    "reasoning sealed elsewhere": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"role": "assistant", "content": "hi"},
    ],
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
"""By what they show."""


def second_turn(http: httpx2.Client, model_id: str, kind: str, how: str, tag: str) -> None:
    """A turn behind ``HELD[kind]``, which stands in a conversation, in the input or in a chain; it must succeed."""
    items, last = HELD[kind], user(f"Go on. tag={tag}")
    if how == "conversation":
        conversation_id = create(http, [user("Before")])
        add(http, conversation_id, items)
        response = turn(http, model_id, [last], conversation=conversation_id)
    elif how == "input":
        response = turn(http, model_id, [user("Before"), *items, last])
    else:
        first = turn(http, model_id, [user("Before"), *items])
        response = turn(http, model_id, [last], previous_response_id=first["id"])
    assert response["status"] == "completed"
    assert len(input_items(http, response["id"])) >= len(items) + 2
