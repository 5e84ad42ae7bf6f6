"""Settings of the providers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llama_conversations_providers.inference.llama_cpp.config import LlamaCppConfig
from llama_conversations_providers.inference.openai_wire.config import (
    OllamaConfig,
    OpenAIConfig,
    RemoteConfig,
    VLLMConfig,
)


def test_every_default_is_as_documented() -> None:
    config = OpenAIConfig()
    assert config.base_url == "https://api.openai.com/v1"
    assert (config.timeouts.connect_seconds, config.timeouts.first_byte_seconds, config.timeouts.idle_seconds) == (
        5,
        600,
        120,
    )
    assert config.tls.verify
    assert config.max_retries == 2
    assert config.models is None
    assert (config.wire_api, config.output_limit, config.token_counter) == ("chat", None, "none")
    assert (VLLMConfig(base_url="http://x").token_counter, OllamaConfig().token_counter) == ("vllm", "none")
    assert config.system_messages == "anywhere"
    for local in (VLLMConfig(base_url="http://x"), OllamaConfig()):
        assert local.system_messages == "first"
    assert OllamaConfig().base_url == "http://localhost:11434/v1"


def test_vllm_needs_an_address() -> None:
    with pytest.raises(ValidationError, match="base_url"):
        VLLMConfig.model_validate({})


@pytest.mark.parametrize("config", [VLLMConfig, OllamaConfig])
@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://gpu:8000", "http://gpu:8000/v1"),
        ("http://gpu:8000/", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/", "http://gpu:8000/v1"),
        ("http://gpu/models", "http://gpu/models/v1"),
    ],
)
def test_v1_is_added_where_it_is_missing(config: type[RemoteConfig], given: str, used: str) -> None:
    assert config.model_validate({"base_url": given}).base_url == used


def test_any_other_servers_address_stays_as_it_is() -> None:
    assert (
        OpenAIConfig(base_url="https://x.example/openai?api-version=1").base_url
        == "https://x.example/openai?api-version=1"
    )


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost:8000",
        "ftp://x",
        "http://",
        "http://user:secret@x/v1",
        "http://x/v1#a",
        "http://x:99999/v1",
        "http://[",
    ],
)
@pytest.mark.parametrize("config", [OpenAIConfig, VLLMConfig])
def test_an_address_that_cannot_be_used_is_refused(config: type[RemoteConfig], address: str) -> None:
    with pytest.raises(ValidationError):
        config.model_validate({"base_url": address})


def test_values_may_come_as_text() -> None:
    config = OpenAIConfig.model_validate(
        {
            "max_retries": "0",
            "timeouts": {"idle_seconds": "1.5", "first_byte_seconds": None},
            "tls": {"verify": "false"},
            "models": "a, b,",
            "discover_models": "no",
        }
    )
    assert config.max_retries == 0
    assert (config.timeouts.idle_seconds, config.timeouts.first_byte_seconds) == (1.5, None)
    assert not config.tls.verify
    assert config.models == ["a", "b"]
    assert not config.discover_models


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": "two\nlines"},
        {"headers": {"X-Key": "a\r\nB: c"}},
        {"headers": {"X Key": "a"}},
        {"timeouts": {"connect_seconds": 0}},
        {"timeouts": {"total": 3}},
        {"tls": {"verify": "perhaps"}},
        {"max_retries": -1},
        {"models": 3},
        {"organization": "x"},
        {"base_url": 7},
        {"wire_api": "websocket"},
        {"output_limit": "max_output_tokens"},
        {"token_counter": "guess"},
        {"system_messages": "last"},
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        VLLMConfig.model_validate({"base_url": "http://x/v1", **wrong})


def test_no_secret_is_printed() -> None:
    config = OpenAIConfig.model_validate({"api_key": "sk-secret", "headers": {"X-Key": "also-secret"}})
    assert "secret" not in repr(config) + config.model_dump_json()


def test_the_embedded_model_needs_no_settings() -> None:
    config = LlamaCppConfig.model_validate({"model_path": None})
    assert (config.model_path, config.model_id, config.context_length, config.threads) == (None, None, None, None)
    assert config.parallel == 2
