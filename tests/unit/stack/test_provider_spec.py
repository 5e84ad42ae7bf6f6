"""How a provider describes itself."""

from __future__ import annotations

import pytest

from llama_conversations.stack.provider_spec import ProviderConfig, ProviderSpec


@pytest.mark.parametrize("provider_type", ["openai", "local::openai", "remote::", "remote::Open AI", "remote::a::b"])
def test_a_type_of_another_form_is_refused(provider_type: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        ProviderSpec("inference", provider_type, ProviderConfig, "nowhere:make", "A test's")


def test_settings_without_a_sample_are_sampled_as_none() -> None:
    assert ProviderConfig.sample_run_config() == {}


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="extra_forbidden"):
        ProviderConfig.model_validate({"x": 1})
