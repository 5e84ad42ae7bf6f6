"""Providers of a configuration, held against those that are installed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llama_conversations.config.loader import LoadedConfig, load_run_config
from llama_conversations.errors import ConfigError
from llama_conversations.stack.provider_spec import ProviderConfig, ProviderSpec
from llama_conversations.stack.registry import ProviderSpecs
from llama_conversations.stack.resolver import ResolvedProvider, order_by_dependency, resolve


class Settings(ProviderConfig):
    base_url: str
    timeout: float = 60


def spec(provider_type: str, *, api: str = "inference", needs: tuple[str, ...] = (), **more: object) -> ProviderSpec:
    packages = more.get("packages", ())
    assert isinstance(packages, tuple)
    config_class = Settings if more.get("settings") else ProviderConfig
    return ProviderSpec(api, provider_type, config_class, "nowhere:make", "A test's", packages, needs)


def specs_of(*specs: ProviderSpec) -> ProviderSpecs:
    return {(spec.api, spec.provider_type): spec for spec in specs}


def loaded(*entries: tuple[str, str, dict[str, object]], **environ: str) -> LoadedConfig:
    providers = [{"provider_id": id_, "provider_type": kind, "config": config} for id_, kind, config in entries]
    return load_run_config({"providers": {"inference": providers}}, environ)


def problems(config: LoadedConfig, *specs: ProviderSpec) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        resolve(config, specs_of(*specs))
    assert caught.value.source == "<mapping>"
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_provider_gets_its_spec_and_its_own_settings() -> None:
    remote = spec("remote::a", settings=True)
    [provider] = resolve(loaded(("x", "remote::a", {"base_url": "http://h", "timeout": "7"})), specs_of(remote))
    assert (provider.api, provider.provider_id, provider.spec) == ("inference", "x", remote)
    assert provider.config == Settings(base_url="http://h", timeout=7)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("remote::opena", "did you mean 'remote::openai'? "),
        ("remote::llama-cpp", "did you mean 'inline::llama-cpp'? "),
        ("remote::zzz", ""),
    ],
)
def test_an_unknown_type_is_told_with_the_nearest_one_and_all_there_are(written: str, hint: str) -> None:
    found = problems(loaded(("x", written, {})), spec("remote::openai"), spec("inline::llama-cpp"))
    message = f"unknown provider type '{written}'; {hint}installed: inline::llama-cpp, remote::openai"
    assert found == {"providers.inference[0].provider_type": message}


def test_everything_wrong_with_all_providers_is_told_at_once_at_its_place_in_the_file() -> None:
    config = loaded(
        ("${env.NOT_SET:+gone}", "remote::a", {"base_url": "${env.NOT_SET}"}),
        ("x", "remote::a", {"timeout": "soon", "base_ur": "http://h"}),
        ("y", "remote::b", {}),
    )
    assert set(problems(config, spec("remote::a", settings=True))) == {
        "providers.inference[1].config.base_url",
        "providers.inference[1].config.timeout",
        "providers.inference[1].config.base_ur",
        "providers.inference[2].provider_type",
    }


def test_a_package_that_is_not_installed_is_told_with_the_way_to_install_it() -> None:
    wants = spec("inline::a", packages=("pydantic>=2", "no-such-package[extra]>=3", "pytest"))
    found = problems(loaded(("x", "inline::a", {})), wants)
    assert found == {
        "providers.inference[0]": "inline::a needs a package that is not installed: "
        "pip install 'no-such-package[extra]>=3'"
    }


def test_a_provider_may_depend_on_what_the_server_implements_itself() -> None:
    config = loaded(("x", "inline::a", {}))
    assert len(resolve(config, specs_of(spec("inline::a", needs=("conversations", "models"))))) == 1


def test_a_dependency_that_nobody_implements_is_a_problem() -> None:
    found = problems(loaded(("x", "inline::a", {})), spec("inline::a", needs=("safety",)))
    assert found == {"providers.inference[0]": "inline::a needs one provider of API 'safety', and there is none"}


def test_a_dependency_that_several_implement_is_a_problem_that_names_them() -> None:
    config = loaded(("x", "inline::a", {}), ("y", "inline::b", {}))
    found = problems(config, spec("inline::a"), spec("inline::b", needs=("inference",)))
    assert "several: x, y" in found["providers.inference[1]"]
    assert found["providers"] == "APIs need each other in a circle: 'inference' needs 'inference'"


def test_providers_of_an_api_that_is_not_listed_are_not_opened() -> None:
    entry = {"provider_id": "x", "provider_type": "remote::unheard-of"}
    config = load_run_config({"apis": [], "providers": {"inference": [entry]}}, {})
    assert list(resolve(config, {})) == []


def resolved(api: str, provider_id: str, *needs: str) -> ResolvedProvider:
    return ResolvedProvider(api, provider_id, spec("inline::x", api=api, needs=needs), ProviderConfig(), ())


def ids(providers: Sequence[ResolvedProvider]) -> list[str]:
    return [provider.provider_id for provider in providers]


def test_providers_are_opened_after_those_they_depend_on_and_else_in_the_file_s_order() -> None:
    providers = [
        resolved("a", "a1", "c"),
        resolved("a", "a2"),
        resolved("b", "b1", "a", "conversations"),
        resolved("c", "c1"),
    ]
    assert ids(order_by_dependency(providers)) == ["c1", "a1", "a2", "b1"]
    assert ids(order_by_dependency(providers[::-1])) == ["c1", "a2", "a1", "b1"]
