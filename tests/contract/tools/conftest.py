"""A server whose requests may name the scripted MCP server, and search the web by the scripted search service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI

from harness.forked import ForkedServer
from harness.server import SEARCH_KEY, StackServer, scripted_config, search_providers
from scripted_mcp import GOOD_TOKEN, ScriptedMcp
from scripted_model import ScriptedModel
from scripted_search import ScriptedSearch

pytest.register_assert_rewrite("harness.tools", "harness.background")

ALLOWED = {"policy": {"allow": ["127.0.0.1"]}}


@pytest.fixture(scope="session")
def mcp_server() -> Iterator[ScriptedMcp]:
    """The MCP server."""
    with ScriptedMcp() as server:
        yield server


@pytest.fixture(scope="session")
def search_service() -> Iterator[ScriptedSearch]:
    """The search service."""
    with ScriptedSearch() as service:
        yield service


@pytest.fixture(scope="session")
def tool_sections(
    mcp_server: ScriptedMcp,
    search_service: ScriptedSearch,
    model: ScriptedModel,
    tmp_path_factory: pytest.TempPathFactory,
):
    """What a run.yaml has for tools: a runtime with the groups ``house`` and ``vault`` (it wants a token); searches."""
    directory = tmp_path_factory.mktemp("sections")
    inference = scripted_config(directory, model.base_url)["providers"]
    runtime = {"provider_id": "mcp", "provider_type": "inline::mcp", "config": ALLOWED}
    groups = {
        "house": {"server_url": mcp_server.url(tag="house")},
        "vault": {"server_url": mcp_server.url(tag="vault", require="bearer"), "authorization": GOOD_TOKEN},
    }
    return {
        "providers": {**inference, "tool_runtime": [runtime], "web_search": search_providers(search_service.url())},
        "registered_resources": {
            "tool_groups": [
                {"tool_group_id": name, "provider_id": "mcp", "arguments": arguments}
                for name, arguments in groups.items()
            ]
        },
    }


@pytest.fixture(scope="session")
def tool_server(
    shared_sections: Callable[[Path], Mapping[str, object]],
    model: ScriptedModel,
    tool_sections: Mapping[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StackServer]:
    """The server that the tests here share; no fault of its own may show in its log."""
    directory = tmp_path_factory.mktemp("tools")
    sections = {**shared_sections(directory), **tool_sections}
    server = ForkedServer(directory, scripted_config(directory, model.base_url, **sections)).start()
    try:
        yield server
        server.stop()
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log
    assert GOOD_TOKEN not in server.log
    assert SEARCH_KEY not in server.log


@pytest.fixture(scope="session")
def http(tool_server: StackServer) -> Iterator[httpx2.Client]:
    """Plain HTTP to that server."""
    with tool_server.http() as http:
        yield http


@pytest.fixture(scope="session")
def strict_client(tool_server: StackServer) -> Iterator[OpenAI]:
    """The official client, refusing every answer that does not fit its types."""
    with tool_server.client(_strict_response_validation=True) as client:
        yield client
