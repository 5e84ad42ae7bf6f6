"""Settings of ``inline::mcp``."""

from __future__ import annotations

import pytest

from llama_conversations.config.settings import parse_settings
from llama_conversations_providers.tool_runtime.mcp.config import GroupArguments, McpConfig


def test_every_default_is_as_documented() -> None:
    config = McpConfig()
    assert (config.policy.allow, config.policy.deny, config.policy.public) == ([], [], True)
    timeouts = config.timeouts
    assert (timeouts.connect_seconds, timeouts.open_seconds) == (5, 20)
    assert (timeouts.read_seconds, timeouts.call_seconds) == (60, 300)
    assert (config.max_response_bytes, config.max_tools, config.ca_file) == (4 * 1024 * 1024, 512, None)


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ("a.example, 10.0.0.0/8", ["a.example", "10.0.0.0/8"]),
        (["a.example"], ["a.example"]),
        (None, []),
        ("", []),
    ],
)
def test_rules_are_a_list_or_text_with_commas(given: object, rules: list[str]) -> None:
    assert McpConfig.model_validate({"policy": {"allow": given}}).policy.allow == rules


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"policy": {"allow": ["a.example", "10.0.0.1/8"]}}, ("policy", "allow", 1)),
        ({"policy": {"deny": [5.5, "a b"]}}, ("policy", "deny", 1)),
        ({"policy": {"deny": 7}}, ("policy", "deny")),
        ({"policy": {"denied": []}}, ("policy", "denied")),
        ({"timeouts": {"read_seconds": 0}}, ("timeouts", "read_seconds")),
        ({"max_tools": 0}, ("max_tools",)),
        ({"max_response_bytes": "many"}, ("max_response_bytes",)),
    ],
)
def test_a_wrong_setting_is_found_where_it_stands(settings: dict[str, object], path: tuple[str | int, ...]) -> None:
    config, findings = parse_settings(McpConfig, settings)
    assert config is None
    assert path in [finding.path for finding in findings]


def test_a_groups_credentials_do_not_show() -> None:
    group = GroupArguments.model_validate(
        {"server_url": "https://a.example/mcp", "headers": {"X-Key": "hidden"}, "authorization": "hidden"}
    )
    assert "hidden" not in repr(group)
