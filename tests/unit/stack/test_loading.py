"""From a name, a file or a line to a configuration whose providers were checked, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from llama_conversations.errors import ConfigError
from llama_conversations.stack.loading import check_config, load_stack_config
from llama_conversations.stack.provider_spec import ProviderConfig, ProviderSpec


class Settings(ProviderConfig):
    base_url: str = "http://h"

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        return {"base_url": "${env.LAB_URL:=http://sample}"}


def spec(provider_type: str, needs: tuple[str, ...] = ()) -> ProviderSpec:
    return ProviderSpec("inference", provider_type, Settings, "nowhere:make", "A test's", api_dependencies=needs)


SPECS = {(one.api, one.provider_type): one for one in (spec("remote::lab"), spec("inline::needy", ("safety",)))}


def write(tmp_path: Path, text: str, name: str = "run.yaml") -> str:
    file = tmp_path / name
    file.write_text(text)
    return str(file)


def test_everything_wrong_is_told_at_once_wherever_it_stands(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        versio: 1
        providers:
          inference:
            - {provider_id: a, provider_type: remote::lab, config: {base_ur: x}}
            - {provider_id: b, provider_type: remote::lap}
            - {provider_id: c, provider_type: remote::lab, config: {base_url: '${env.NOT_SET}'}}
            - {provider_id: d, provider_type: wrong, config: {base_ur: x}}
            - {provider_id: '${env.NOT_SET:+e}', provider_type: remote::lap}
          infernce:
            - {provider_id: f, provider_type: remote::lap}
        server: {port: many}
        registered_resources:
          models: [{model_id: m, provider_id: nobody}]
        """,
    )
    assert sorted(problem.path for problem in check_config(file, {}, SPECS)) == [
        "providers.inference[0].config.base_ur",
        "providers.inference[1].provider_type",
        "providers.inference[2].config.base_url",
        "providers.inference[3].provider_type",
        "providers.infernce",
        "server.port",
        "versio",
    ]


def test_what_can_only_be_told_of_the_whole_is_told_when_the_parts_are_right(tmp_path: Path) -> None:
    file = write(tmp_path, "providers: {inference: [{provider_id: a, provider_type: inline::needy}]}")
    [problem] = check_config(file, {}, SPECS)
    assert "needs one provider of API 'safety'" in problem.message


@pytest.mark.parametrize(
    "text", ["- providers", "providers: [1]", "providers: {inference: 7}", "providers: {inference: [7]}"]
)
def test_a_file_of_another_shape_is_told_as_such(tmp_path: Path, text: str) -> None:
    assert len(check_config(write(tmp_path, text), {}, SPECS)) == 1


def test_a_right_configuration_has_no_problems(tmp_path: Path) -> None:
    file = write(tmp_path, "providers: {inference: [{provider_id: a, provider_type: remote::lab}]}")
    assert list(check_config(file, {}, SPECS)) == []


def test_errors_of_an_ad_hoc_line_name_the_line() -> None:
    [problem] = check_config("inference=nobody", {}, SPECS)
    assert "unknown provider 'nobody'" in problem.message
    with pytest.raises(ConfigError) as caught:
        load_stack_config("inference=lab", {"LLAMA_CONVERSATIONS_PORT": "x"}, SPECS)
    assert caught.value.source == "inference=lab"


def test_a_file_may_have_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    file = write(tmp_path, "distro_name: mine", "inference=lab")
    assert load_stack_config(file, {}, SPECS).config.distro_name == "mine"


def test_providers_named_beside_a_file_take_the_place_of_its_own(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        distro_name: mine
        apis: []
        providers:
          inference:
            - {provider_id: a, provider_type: remote::gone, config: {key: '${env.NOT_SET}'}}
        """,
    )
    loaded = load_stack_config(file, {"LAB_URL": "http://mine"}, SPECS, "inference=lab")
    assert loaded.source == file
    assert loaded.config.distro_name == "mine"
    [entry] = loaded.config.providers["inference"]
    assert (entry.provider_id, entry.config) == ("lab", {"base_url": "http://mine"})
    assert loaded.config.apis == ["inference"]


@pytest.mark.parametrize("text", ["", "- 1", "providers: 7"])
def test_providers_named_beside_a_file_that_is_none_do_not_hide_that(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    if text == "providers: 7":
        assert load_stack_config(file, {}, SPECS, "inference=lab").config.apis == ["inference"]
    else:
        with pytest.raises(ConfigError, match="the file"):
            load_stack_config(file, {}, SPECS, "inference=lab")
