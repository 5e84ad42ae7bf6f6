"""Which names a request may use for a model."""

from __future__ import annotations

import pytest

from llama_conversations.apis.inference import ProviderModel
from llama_conversations.services.model_names import ModelAlias, ModelNames, name_models


def names_of(*aliases: ModelAlias, **models: list[str]) -> ModelNames:
    return name_models(aliases, {provider: [ProviderModel(model) for model in ids] for provider, ids in models.items()})


def target(names: ModelNames, name: str) -> tuple[str, str]:
    named = names.by_name[name]
    assert named.name == name
    return named.provider_id, named.model.id


def listed(names: ModelNames) -> list[str]:
    return [named.name for named in names.listed]


def test_a_model_that_one_provider_has_goes_by_its_bare_and_its_qualified_name() -> None:
    names = names_of(openai=["gpt-4.1"])
    assert target(names, "gpt-4.1") == target(names, "openai/gpt-4.1") == ("openai", "gpt-4.1")
    assert listed(names) == ["gpt-4.1"]


def test_a_model_that_two_providers_have_goes_by_its_qualified_names_alone() -> None:
    names = names_of(vllm=["qwen"], ollama=["qwen", "phi"])
    assert "qwen" not in names.by_name
    assert list(names.ambiguous["qwen"]) == ["ollama/qwen", "vllm/qwen"]
    assert target(names, "vllm/qwen") == ("vllm", "qwen")
    assert listed(names) == ["ollama/qwen", "phi", "vllm/qwen"]


def test_an_alias_takes_its_name_from_whoever_else_has_it() -> None:
    names = names_of(ModelAlias("gpt-4.1", "vllm", "qwen"), openai=["gpt-4.1"], vllm=["qwen"])
    assert target(names, "gpt-4.1") == ("vllm", "qwen")
    assert target(names, "openai/gpt-4.1") == ("openai", "gpt-4.1")
    assert listed(names) == ["gpt-4.1", "openai/gpt-4.1", "qwen"]


def test_an_alias_settles_a_name_that_is_ambiguous_otherwise() -> None:
    names = names_of(ModelAlias("qwen", "vllm", "qwen"), vllm=["qwen"], ollama=["qwen"])
    assert target(names, "qwen") == ("vllm", "qwen")
    assert not names.ambiguous
    assert listed(names) == ["ollama/qwen", "qwen"]


def test_an_alias_may_name_a_model_that_its_provider_does_not_list() -> None:
    names = names_of(ModelAlias("best", "openai", "gpt-secret"), openai=["gpt-4.1"])
    assert target(names, "best") == ("openai", "gpt-secret")


def test_an_alias_has_what_the_provider_tells_of_its_model() -> None:
    names = name_models([ModelAlias("best", "vllm", "qwen")], {"vllm": [ProviderModel("qwen", context_length=8192)]})
    assert names.by_name["best"].model.context_length == 8192


def test_a_qualified_name_wins_over_a_bare_one_that_looks_like_it() -> None:
    names = names_of(meta=["llama"], vllm=["meta/llama"])
    assert target(names, "meta/llama") == ("meta", "llama")
    assert target(names, "vllm/meta/llama") == ("vllm", "meta/llama")
    assert listed(names) == ["llama", "vllm/meta/llama"]


def test_a_model_whose_every_name_was_taken_by_an_alias_is_not_listed() -> None:
    aliases = [ModelAlias("qwen", "openai", "gpt"), ModelAlias("vllm/qwen", "openai", "gpt")]
    assert listed(names_of(*aliases, openai=["gpt"], vllm=["qwen"])) == ["gpt", "qwen", "vllm/qwen"]


@pytest.mark.parametrize("name", ["", "openai/", "openai", "gpt-4.1 ", "GPT-4.1"])
def test_no_other_name_is_known(name: str) -> None:
    names = names_of(openai=["gpt-4.1"])
    assert name not in names.by_name
    assert name not in names.ambiguous
