"""A second server, whose providers fail in more ways than the model server itself can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from harness.forked import ForkedServer
from harness.server import UPSTREAM_KEY, StackServer, scripted_config
from scripted_model import ScriptedModel


@pytest.fixture(scope="session")
def varied_server(
    shared_sections: Callable[[Path], Mapping[str, object]],
    model: ScriptedModel,
    nobody_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StackServer]:
    """The scripted models; ``hang`` and ``hang-mid`` once more with short time-outs; one whose server is not there.

    ``nickname`` is an alias of the first one's ``echo``.
    """
    directory = tmp_path_factory.mktemp("varied")
    sections = {
        **shared_sections(directory),
        "providers": {"inference": _providers(model.base_url, nobody_url)},
        "registered_resources": {
            "models": [{"model_id": "nickname", "provider_id": "scripted", "provider_model_id": "echo"}]
        },
    }
    server = ForkedServer(directory, scripted_config(directory, model.base_url, **sections)).start()
    try:
        yield server
        server.stop()
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log
    assert UPSTREAM_KEY not in server.log


def _providers(model_url: str, nobody_url: str) -> list[Mapping[str, object]]:
    common = {"api_key": UPSTREAM_KEY, "max_retries": 0}
    hasty = {"timeouts": {"first_byte_seconds": 0.3, "idle_seconds": 0.3}, "models": ["hang", "hang-mid"]}
    absent = {"models": ["absent"], "discover_models": False}
    configs = {
        "scripted": {"base_url": model_url, **common},
        "hasty": {"base_url": model_url, **common, **hasty},
        "absent": {"base_url": nobody_url, **common, **absent},
    }
    return [
        {"provider_id": name, "provider_type": "remote::openai", "config": config} for name, config in configs.items()
    ]


@pytest.fixture(scope="session")
def varied(varied_server: StackServer) -> Iterator[httpx2.Client]:
    """Plain HTTP to the second server."""
    with varied_server.http() as http:
        yield http
