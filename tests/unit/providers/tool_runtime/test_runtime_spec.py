"""What the package offers for the ``tool_runtime`` API."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from llama_conversations.apis.tools import ToolRuntime
from llama_conversations.stack.provider_spec import Provider, ProviderConfig, ProviderContext
from llama_conversations_providers import provider_specs
from llama_conversations_providers.tool_runtime.mcp.config import McpConfig

[SPEC] = [spec for spec in provider_specs() if spec.api == "tool_runtime"]


def test_the_factory_makes_a_tool_runtime() -> None:
    module, _, name = SPEC.factory.partition(":")
    runtime = getattr(import_module(module), name)(ProviderContext("mcp", McpConfig(), {}))
    assert isinstance(runtime, ToolRuntime)
    assert isinstance(runtime, Provider)


def test_the_factory_refuses_another_kinds_settings() -> None:
    module, _, name = SPEC.factory.partition(":")
    with pytest.raises(TypeError, match="expected a McpConfig"):
        getattr(import_module(module), name)(ProviderContext("mcp", ProviderConfig(), {}))


def test_it_says_what_it_needs_and_imports_it_only_when_it_is_used() -> None:
    assert SPEC.provider_type == "inline::mcp"
    assert SPEC.pip_packages == ("mcp>=2.3",)
    code = (
        "import sys, llama_conversations_providers as p; p.provider_specs(); "
        "print({'mcp', 'httpx2', 'httpcore2', 'anyio', 'ssl'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
