"""One item of every type that a conversation can hold: with what is required alone, and with everything."""

from __future__ import annotations

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
CALLER = {"type": "program", "caller_id": "call_p"}
CHECK = {"id": "chk_1", "code": "malicious_instructions", "message": None}

REQUIRED: dict[str, dict[str, object]] = {
    "message": {"type": "message", "role": "user", "content": "hi"},
    "function_call": {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
    "function_call_output": {"type": "function_call_output", "call_id": "call_1", "output": "42"},
    "custom_tool_call": {"type": "custom_tool_call", "call_id": "call_1", "name": "f", "input": "x"},
    "custom_tool_call_output": {"type": "custom_tool_call_output", "call_id": "call_1", "output": "y"},
    "reasoning": {"type": "reasoning", "id": "rs_1", "summary": []},
    "compaction": {"type": "compaction", "encrypted_content": "gAAA"},
    "file_search_call": {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"]},
    "web_search_call": {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    },
    "image_generation_call": {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": None},
    "code_interpreter_call": {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "status": "completed",
        "container_id": "cntr_1",
        "code": None,
        "outputs": None,
    },
    "computer_call": {
        "type": "computer_call",
        "id": "cu_1",
        "call_id": "call_1",
        "status": "completed",
        "pending_safety_checks": [],
    },
    "computer_call_output": {
        "type": "computer_call_output",
        "call_id": "call_1",
        "output": {"type": "computer_screenshot", "image_url": "https://example.com/a.png"},
    },
    "local_shell_call": {
        "type": "local_shell_call",
        "id": "lsh_1",
        "call_id": "call_1",
        "status": "completed",
        "action": {"type": "exec", "command": ["ls"], "env": {}},
    },
    "local_shell_call_output": {"type": "local_shell_call_output", "id": "lsho_1", "output": "{}"},
    "shell_call": {"type": "shell_call", "call_id": "call_1", "action": {"commands": ["ls"]}},
    "shell_call_output": {
        "type": "shell_call_output",
        "call_id": "call_1",
        "output": [{"stdout": "", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    },
    "apply_patch_call": {
        "type": "apply_patch_call",
        "call_id": "call_1",
        "status": "completed",
        "operation": {"type": "delete_file", "path": "a"},
    },
    "apply_patch_call_output": {"type": "apply_patch_call_output", "call_id": "call_1", "status": "failed"},
    "mcp_list_tools": {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
    "mcp_approval_request": {
        "type": "mcp_approval_request",
        "id": "mcpr_1",
        "server_label": "s",
        "name": "f",
        "arguments": "{}",
    },
    "mcp_approval_response": {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    "mcp_call": {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "f", "arguments": "{}"},
    "tool_search_call": {"type": "tool_search_call", "arguments": {}},
    "tool_search_output": {"type": "tool_search_output", "tools": []},
    "additional_tools": {"type": "additional_tools", "role": "developer", "tools": []},
    "program": {"type": "program", "id": "cm_1", "call_id": "call_1", "code": "1", "fingerprint": "f"},
    "program_output": {
        "type": "program_output",
        "id": "cmo_1",
        "call_id": "call_1",
        "result": "1",
        "status": "completed",
    },
}

ANNOTATIONS: list[dict[str, object]] = [
    {"type": "file_citation", "file_id": "file_1", "index": 0, "filename": "a.txt"},
    {"type": "url_citation", "url": "https://example.com", "start_index": 0, "end_index": 1, "title": "t"},
    {
        "type": "container_file_citation",
        "container_id": "cntr_1",
        "file_id": "file_1",
        "start_index": 0,
        "end_index": 1,
        "filename": "a",
    },
    {"type": "file_path", "file_id": "file_1", "index": 0},
]
LOGPROB = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}

OUTPUT_TEXT = {"type": "output_text", "text": "a", "annotations": ANNOTATIONS, "logprobs": [LOGPROB]}
INPUT_IMAGE = {
    "type": "input_image",
    "detail": "high",
    "file_id": None,
    "image_url": "https://example.com/a.png",
    "prompt_cache_breakpoint": {"mode": "explicit"},
}
INPUT_FILE = {
    "type": "input_file",
    "file_id": None,
    "filename": "a.txt",
    "file_data": "YQ==",
    "file_url": None,
    "detail": "low",
}
INPUT_AUDIO = {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}
PARTS: list[dict[str, object]] = [
    {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
    INPUT_IMAGE,
    INPUT_FILE,
    OUTPUT_TEXT,
    {"type": "refusal", "refusal": "no"},
    {"type": "text", "text": "a"},
    {"type": "summary_text", "text": "a"},
    {"type": "reasoning_text", "text": "a"},
    {"type": "computer_screenshot", "detail": "auto", "file_id": None, "image_url": "https://example.com/a.png"},
]

FULL: dict[str, list[dict[str, object]]] = {
    "message": [
        {"id": "msg_1", "status": "completed", "role": "user", "content": PARTS},
        {"id": "msg_1", "status": "incomplete", "role": "assistant", "content": [OUTPUT_TEXT], "phase": "commentary"},
        {"id": "msg_1", "status": "completed", "role": "system", "content": PARTS[:1]},
        {"id": "msg_1", "status": "in_progress", "role": "developer", "content": []},
    ],
    "function_call": [{"id": "fc_1", "status": "completed", "namespace": "n", "caller": CALLER, "created_by": "me"}],
    "function_call_output": [
        {"id": "fc_2", "status": "incomplete", "output": PARTS[:3], "name": "f", "namespace": "n", "caller": None}
    ],
    "custom_tool_call": [{"id": "ctc_1", "status": "completed", "namespace": "n", "caller": {"type": "direct"}}],
    "custom_tool_call_output": [{"id": "ctco_1", "status": "completed", "output": PARTS[:3], "caller": CALLER}],
    "reasoning": [
        {
            "summary": [{"type": "summary_text", "text": "s"}],
            "content": [{"type": "reasoning_text", "text": "r"}],
            "encrypted_content": "gAAA",
        }
    ],
    "compaction": [{"id": "cmp_1", "created_by": "me"}],
    "file_search_call": [
        {"results": [{"file_id": "file_1", "filename": "a", "score": 0.5, "text": "t", "attributes": {"n": 1.5}}]},
        {"results": None, "status": "searching"},
    ],
    "web_search_call": [
        {"action": {"type": "search", "queries": ["q"], "sources": [{"type": "url", "url": "https://example.com"}]}},
        {"action": {"type": "open_page", "url": None}, "status": "failed"},
        {"action": {"type": "find_in_page", "url": "https://example.com", "pattern": "p"}},
    ],
    "image_generation_call": [{"result": "aGk=", "status": "generating", "size": "1024x1024", "quality": "high"}],
    "code_interpreter_call": [
        {"code": "print(1)", "outputs": [{"type": "logs", "logs": "1"}, {"type": "image", "url": "https://e.com/a"}]}
    ],
    "computer_call": [
        {"action": {"type": "click", "button": "left", "x": 1, "y": 2}, "pending_safety_checks": [CHECK]},
        {"actions": [{"type": "screenshot"}, {"type": "keypress", "keys": ["a"]}], "status": "in_progress"},
    ],
    "computer_call_output": [
        {
            "id": "cuo_1",
            "status": "completed",
            "output": {"type": "computer_screenshot", "file_id": "file_1"},
            "acknowledged_safety_checks": [CHECK],
        }
    ],
    "local_shell_call": [
        {
            "action": {
                "type": "exec",
                "command": ["ls"],
                "env": {"A": "b"},
                "timeout_ms": 1,
                "user": None,
                "working_directory": "/",
            }
        }
    ],
    "local_shell_call_output": [{"status": "completed", "call_id": "call_1"}],
    "shell_call": [
        {
            "id": "sh_1",
            "status": "completed",
            "action": {"commands": ["ls"], "timeout_ms": 1, "max_output_length": None},
            "environment": {"type": "local"},
            "caller": CALLER,
        },
        {"id": "sh_1", "status": "completed", "environment": {"type": "container_reference", "container_id": "c"}},
    ],
    "shell_call_output": [
        {
            "id": "sho_1",
            "status": "completed",
            "max_output_length": 100,
            "output": [{"stdout": "o", "stderr": "e", "outcome": {"type": "timeout"}}],
        }
    ],
    "apply_patch_call": [
        {"id": "apc_1", "operation": {"type": "create_file", "path": "a", "diff": "+a"}, "caller": CALLER},
        {"id": "apc_1", "operation": {"type": "update_file", "path": "a", "diff": "+a"}, "status": "in_progress"},
    ],
    "apply_patch_call_output": [{"id": "apco_1", "output": "done", "caller": {"type": "direct"}}],
    "mcp_list_tools": [
        {
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "description": None, "annotations": {"a": 1}}],
            "error": "e",
        }
    ],
    "mcp_approval_request": [{}],
    "mcp_approval_response": [{"id": "mcpa_1", "approve": False, "reason": "no"}],
    "mcp_call": [
        {"status": "failed", "output": None, "error": {"type": "http_error", "code": 500, "message": "m"}},
        {"error": {"type": "mcp_protocol_error", "code": 1, "message": "m"}},
        {"error": {"type": "mcp_tool_execution_error", "content": [1]}, "approval_request_id": "mcpr_1"},
    ],
    "tool_search_call": [
        {"id": "tsc_1", "status": "completed", "call_id": "call_1", "execution": "server", "arguments": {"goal": "g"}}
    ],
    "tool_search_output": [
        {"id": "tso_1", "status": "completed", "call_id": None, "execution": "client", "tools": [TOOL]}
    ],
    "additional_tools": [{"id": "adt_1", "tools": [TOOL]}],
    "program": [{}],
    "program_output": [{"status": "incomplete"}],
}

KNOWN_TO_THE_CLIENT: list[dict[str, object]] = [
    *REQUIRED.values(),
    *(REQUIRED[kind] | variant for kind, variants in FULL.items() for variant in variants),
]
"""Those that the official client's types of conversation items can hold: all but audio."""

ALL: list[dict[str, object]] = [
    *KNOWN_TO_THE_CLIENT,
    {"type": "message", "role": "user", "content": [INPUT_AUDIO]},
]
