"""A server whose model server is asked in the Responses API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from harness.forked import ForkedServer
from harness.server import UPSTREAM_KEY, StackServer, scripted_config
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

pytest.register_assert_rewrite("harness.tools")


@pytest.fixture(scope="session")
def mcp_server() -> Iterator[ScriptedMcp]:
    """A server of tools that requests may name."""
    with ScriptedMcp() as server:
        yield server


@pytest.fixture(scope="session")
def upstream_server(
    shared_sections: Callable[[Path], Mapping[str, object]],
    model: ScriptedModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StackServer]:
    """The scripted models, asked in responses; the providers ``chatty`` and ``counting`` ask in chat completions."""
    directory = tmp_path_factory.mktemp("upstream")
    config = {"base_url": model.base_url, "api_key": UPSTREAM_KEY, "max_retries": 0}
    providers = [
        {
            "provider_id": "upstream",
            "provider_type": "remote::openai",
            "config": {**config, "wire_api": "responses"},
        },
        {"provider_id": "counting", "provider_type": "remote::vllm", "config": {**config, "models": ["echo"]}},
        {"provider_id": "chatty", "provider_type": "remote::openai", "config": {**config, "models": ["reasoning"]}},
    ]
    runtime = {
        "provider_id": "mcp",
        "provider_type": "inline::mcp",
        "config": {"policy": {"allow": ["127.0.0.1"]}},
    }
    sections = {
        **shared_sections(directory),
        "providers": {"inference": providers, "tool_runtime": [runtime]},
    }
    server = ForkedServer(directory, scripted_config(directory, model.base_url, **sections)).start()
    try:
        yield server
        server.stop()
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log
    assert UPSTREAM_KEY not in server.log


@pytest.fixture(scope="session")
def http(upstream_server: StackServer) -> Iterator[httpx2.Client]:
    """Plain HTTP to that server."""
    with upstream_server.http() as http:
        yield http
