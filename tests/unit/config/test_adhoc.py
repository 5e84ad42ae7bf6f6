"""A configuration from one line."""

from dataclasses import dataclass

import pytest

from llama_conversations.config.adhoc import adhoc_run_config
from llama_conversations.config.loader import load_run_config
from llama_conversations.errors import ConfigError


class OllamaSettings:
    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        return {"base_url": "${env.OLLAMA_URL:=http://localhost:11434/v1}"}


class NoSettings:
    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        return {}


@dataclass(frozen=True)
class Spec:
    provider_type: str
    config_class: type[OllamaSettings] | type[NoSettings] = NoSettings


KNOWN = {
    "inference": [
        Spec("remote::ollama", OllamaSettings),
        Spec("inline::llama-cpp"),
        Spec("inline::both"),
        Spec("remote::both"),
    ]
}


@pytest.mark.parametrize("spec", ["inference=ollama", "inference=remote::ollama", " inference = ollama ; "])
def test_a_provider_goes_by_its_bare_name_or_its_full_type(spec: str) -> None:
    assert adhoc_run_config(spec, KNOWN)["providers"] == {
        "inference": [
            {
                "provider_id": "ollama",
                "provider_type": "remote::ollama",
                "config": {"base_url": "${env.OLLAMA_URL:=http://localhost:11434/v1}"},
            }
        ]
    }


@pytest.mark.parametrize("separator", [",", ";", " ; "])
def test_several_pairs_are_separated_by_comma_or_semicolon(separator: str) -> None:
    config = load_run_config(adhoc_run_config(f"inference=ollama{separator}inference=llama-cpp", KNOWN), {}).config
    assert [entry.provider_id for entry in config.providers["inference"]] == ["ollama", "llama-cpp"]
    assert config.apis == ["inference"]


def test_what_is_made_can_be_loaded_and_follows_the_environment() -> None:
    environ = {"OLLAMA_URL": "http://gpu/v1", "SQLITE_STORE_DIR": "/data", "LLAMA_CONVERSATIONS_PORT": "9000"}
    config = load_run_config(adhoc_run_config("inference=ollama", KNOWN), environ).config
    assert config.providers["inference"][0].config == {"base_url": "http://gpu/v1"}
    assert str(config.storage.backends["default"].path) == "/data/state.db"
    assert (config.server.host, config.server.port, config.distro_name) == ("127.0.0.1", 9000, "adhoc")


def test_everything_wrong_is_said_at_once() -> None:
    spec = "inference=olama,inference=both;inferense=ollama,ollama,inference=,=x"
    with pytest.raises(ConfigError) as raised:
        adhoc_run_config(spec, KNOWN)
    known = "inline::both, inline::llama-cpp, remote::both, remote::ollama"
    assert raised.value.source == spec
    assert [problem.message for problem in raised.value.problems] == [
        f"unknown provider 'olama' of API 'inference'; known: {known}",
        "'both' may be inline::both or remote::both: name one of them in full",
        "unknown API 'inferense'; did you mean 'inference'?",
        "'ollama' is not of the form api=provider, such as inference=ollama",
        "'inference=' is not of the form api=provider, such as inference=ollama",
        "'=x' is not of the form api=provider, such as inference=ollama",
    ]


def test_an_ambiguous_name_can_be_given_in_full() -> None:
    config = load_run_config(adhoc_run_config("inference=remote::both", KNOWN), {}).config
    assert config.providers["inference"][0].provider_type == "remote::both"


def test_the_same_provider_twice_is_refused_when_loaded() -> None:
    with pytest.raises(ConfigError, match="'ollama' is named twice"):
        load_run_config(adhoc_run_config("inference=ollama,inference=ollama", KNOWN), {})


@pytest.mark.parametrize("spec", ["", " ; ,"])
def test_an_empty_line_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="nothing is named"):
        adhoc_run_config(spec, KNOWN)
