"""The settings: types, defaults, bounds, and how they depend on each other."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue, SecretStr, field_validator

from llama_conversations.config.loader import load_run_config
from llama_conversations.config.run_config import StackRunConfig
from llama_conversations.config.settings import SettingsModel, parse_settings
from llama_conversations.config.substitution import substitute
from llama_conversations.config.yaml_text import parse_yaml
from llama_conversations.errors import ConfigError

SQLITE = {"type": "sql_sqlite", "path": "/x/state.db"}
LLAMA = {"provider_id": "llama", "provider_type": "inline::llama-cpp"}


def load(tree: dict[str, object], **environ: str) -> StackRunConfig:
    return load_run_config(tree, environ).config


def problems(tree: dict[str, object], **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_run_config(tree, environ)
    return [str(problem) for problem in raised.value.problems]


def storage(**backend: object) -> dict[str, object]:
    return {"storage": {"backends": {"default": {**SQLITE, **backend}}}}


def test_nothing_but_defaults_is_a_whole_configuration() -> None:
    config = load({})
    assert (config.version, config.apis, config.providers) == (1, [], {})
    assert config.storage.backends["default"].path == Path.home() / ".llama_conversations/state.db"
    assert config.storage.stores.state.backend == config.storage.stores.registry.backend == "default"
    assert config.server.limits.max_body_bytes == 32 * 1024 * 1024
    assert config.server.cors is None


def test_the_name_goes_by_image_name_too() -> None:
    assert load({"image_name": "0012"}).distro_name == load({"distro_name": "0012"}).distro_name == "0012"
    assert problems({"image_name": "a", "distro_name": "b"}) == [
        "image_name: unknown key 'image_name'; did you mean 'image_name'?"
    ]


def test_texts_from_the_environment_become_what_the_setting_is() -> None:
    tree: dict[str, object] = {
        "version": "${env.V}",
        "server": {
            "port": "${env.PORT}",
            "shutdown_timeout_seconds": "${env.T}",
            "cors": {"allow_origins": ["https://a"], "allow_credentials": "${env.YES}"},
        },
    }
    config = load(tree, V="1", PORT="0080", T="1e1", YES="yes")
    assert (config.version, config.server.port, config.server.shutdown_timeout_seconds) == (1, 80, 10.0)
    assert config.server.cors is not None
    assert config.server.cors.allow_credentials is True


class Settings(SettingsModel):
    text: str = ""
    secret: SecretStr = SecretStr("")
    number: int = 0
    seconds: float = 0
    maybe: int | None = None
    flag: bool = False
    free: dict[str, JsonValue] = Field(default_factory=dict)
    either: int | bool = 0


def settings(yaml: str, **environ: str) -> Settings:
    tree, _ = parse_yaml(yaml)
    found, wrong = parse_settings(Settings, substitute(tree, environ).tree)
    assert found is not None, wrong
    return found


@pytest.mark.parametrize("written", ["0012", "12", "1.10", "1e5", "007", "1_000", "-0", "no", "2026-01-01"])
def test_a_text_setting_gets_a_plain_scalar_as_it_is_written(written: str) -> None:
    found = settings(f"text: {written}\nsecret: {written}\n")
    assert found.text == found.secret.get_secret_value() == written
    assert type(found.text) is str


def test_free_form_json_keeps_numbers_as_numbers_and_substituted_text_as_text() -> None:
    found = settings("free: {a: 40, b: [0.50, true, null], c: '12'}\n")
    assert found.free == {"a": 40, "b": [0.5, True, None], "c": "12"}
    assert settings("free:\n  a: ${env.A}\n", A="40").free == {"a": "40"}


def test_a_provider_s_settings_reach_its_own_model_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "providers:\n  inference:\n    - provider_id: x\n      provider_type: remote::x\n"
        "      config: {text: 1.10, secret: 12, number: 12, free: {temperature: 0.50}}\n"
    )
    entry = load_run_config(file, {}).config.providers["inference"][0]
    found, wrong = parse_settings(Settings, entry.config)
    assert wrong == []
    assert found == Settings(text="1.10", secret=SecretStr("12"), number=12, free={"temperature": 0.5})


@given(value=st.text(min_size=1))
def test_any_value_of_a_variable_survives_in_a_text_setting(value: str) -> None:
    found, _ = parse_settings(Settings, substitute({"text": "${env.V}", "secret": "${env.V}"}, {"V": value}).tree)
    assert found is not None
    assert found.text == found.secret.get_secret_value() == value


@given(default=st.text(alphabet=st.characters(exclude_characters="\\{}", exclude_categories=["Cs"]), min_size=1))
def test_any_default_survives_in_a_text_setting(default: str) -> None:
    found, _ = parse_settings(Settings, substitute({"text": f"${{env.V:={default}}}"}, {}).tree)
    assert found is not None
    assert found.text == default


@pytest.mark.parametrize("key", ["number", "seconds", "maybe"])
def test_true_is_no_number(key: str) -> None:
    _, [finding] = parse_settings(Settings, {key: True})
    assert (finding.path, finding.message) == ((key,), "must be a number, not true")
    assert parse_settings(Settings, {"either": True, "flag": True})[1] == []


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"server": {"port": 65536}}, "server.port: must be at most 65535, not 65536"),
        ({"server": {"port": -1}}, "server.port: must be at least 0, not -1"),
        ({"server": {"port": "x"}}, "server.port: must be a whole number, not 'x'"),
        ({"server": {"port": 1.5}}, "server.port: must be a whole number, not 1.5"),
        ({"server": {"port": [1]}}, "server.port: must be a whole number, not a list"),
        ({"server": {"host": ""}}, "server.host: must be text of 1 or more characters, not ''"),
        ({"server": {"host": True}}, "server.host: must be text, not true"),
        ({"server": {"host": Path("x")}}, "server.host: must be text, not a PosixPath"),
        ({"server": {"host": "x" * 50, "port": "x" * 50}}, f"server.port: must be a whole number, not '{'x' * 40}…'"),
        ({"server": 3}, "server: must be a mapping (key: value), not 3"),
        ({"server": {"shutdown_timeout_seconds": 0}}, "server.shutdown_timeout_seconds: must be greater than 0, not 0"),
        ({"turns": {"lease_seconds": "nan"}}, "turns.lease_seconds: must be a finite number, not 'nan'"),
        ({"turns": {"lease_seconds": "soon"}}, "turns.lease_seconds: must be a number, not 'soon'"),
        (
            {"server": {"limits": None}},
            "server.limits: must be a mapping (key: value); nothing is given: remove the key to take its default",
        ),
        (
            {"server": {"log_level": "INFO"}},
            "server.log_level: must be 'debug', 'info', 'warning' or 'error', not 'INFO'",
        ),
        (
            {"server": {"auth": {"type": "jwt"}}},
            "server.auth: authentication is not supported yet; put a reverse proxy in front",
        ),
        ({"server": {"cors": {}}}, "server.cors.allow_origins: is required"),
        (
            {"server": {"cors": {"allow_origins": ["*"], "allow_credentials": True}}},
            "server.cors.allow_credentials: cannot be true with the origin '*': name the origins",
        ),
        (
            {"server": {"cors": {"allow_origins": ["x"], "allow_credentials": "maybe"}}},
            "server.cors.allow_credentials: must be true or false, which the value given is not",
        ),
        ({"version": 2}, "version: must be 1 (no other version is known), not 2"),
        ({"version": None}, "version: must be a whole number; nothing is given: remove the key to take its default"),
        ({"apis": "inference"}, "apis: must be a list, not 'inference'"),
        (
            {"apis": ["inference"], "providers": {}},
            "apis[0]: has no entry under providers: add providers.inference",
        ),
        (
            {"apis": ["inference", "inference"], "providers": {"inference": []}},
            "apis[1]: 'inference' stands there twice",
        ),
        ({"apis": ["safety"]}, "apis[0]: unknown API 'safety'; known: inference, tool_runtime, web_search"),
        ({"providers": {"inferense": []}}, "providers.inferense: unknown API 'inferense'; did you mean 'inference'?"),
        ({"providers": {"inference": [LLAMA, LLAMA]}}, "providers.inference[1].provider_id: 'llama' is named twice"),
        (
            {"providers": {"inference": [{**LLAMA, "provider_id": "a/b"}]}},
            (
                "providers.inference[0].provider_id: must be a name of letters, digits, '.', '_' and '-' that begins "
                "with a letter or digit, not 'a/b'"
            ),
        ),
        (
            {"providers": {"inference": [{**LLAMA, "provider_type": "in::X"}]}},
            "providers.inference[0].provider_type: must be inline::name or remote::name, in lower case, not 'in::X'",
        ),
        (
            {"providers": {"inference": [{**LLAMA, "config": ["x"]}]}},
            "providers.inference[0].config: must be a mapping (key: value), not a list",
        ),
        (
            {"providers": {"inference": [{**LLAMA, "config": {"x": {"y.z": Path("x")}}}]}},
            'providers.inference[0].config.x["y.z"]: input was not a valid JSON value',
        ),
        (
            storage(type="oracle"),
            "storage.backends.default.type: unknown type 'oracle'; known: sql_postgres, sql_sqlite",
        ),
        (storage(type=None), "storage.backends.default.type: is required: sql_sqlite or sql_postgres"),
        (storage(readers=0), "storage.backends.default.readers: must be at least 1, not 0"),
        (storage(readers=17), "storage.backends.default.readers: must be at most 16, not 17"),
        (storage(synchronous="off"), "storage.backends.default.synchronous: must be 'full' or 'normal', not 'off'"),
        (storage(path=None), "storage.backends.default.path: must be a path; nothing is given"),
        (
            storage(path=":memory:"),
            "storage.backends.default.path: a database in memory is not supported: give the path of a file",
        ),
        (
            storage(path="file:x?mode=memory"),
            "storage.backends.default.path: a database in memory is not supported: give the path of a file",
        ),
        (
            {"storage": {"stores": {"state": {"backend": "fast"}}}},
            "storage.stores.state.backend: unknown backend 'fast'; known: default",
        ),
        (
            {
                "registered_resources": {"models": [{"model_id": "m", "provider_id": "lama"}]},
                "providers": {"inference": [LLAMA]},
            },
            "registered_resources.models[0].provider_id: unknown inference provider 'lama'; did you mean 'llama'?",
        ),
        ({"servr": {}}, "servr: unknown key 'servr'; did you mean 'server'?"),
        ({"server": {"prt": 1}}, "server.prt: unknown key 'prt'; did you mean 'port'?"),
        ({"turns": {"x": 1}}, "turns.x: unknown key 'x'; known: lease_seconds, sweep_seconds"),
        (storage(pth="/x"), "storage.backends.default.pth: unknown key 'pth'; did you mean 'path'?"),
        (
            {"server": {"cors": {"allow_origins": ["x"], "origins": 1}}},
            "server.cors.origins: unknown key 'origins'; did you mean 'allow_origins'?",
        ),
        (
            {"providers": {"inference": [{**LLAMA, "provider_typ": 1}]}},
            "providers.inference[0].provider_typ: unknown key 'provider_typ'; did you mean 'provider_type'?",
        ),
        (
            {"server": {"workers": 2}, "inference_recording": {"mode": "replay"}},
            "inference_recording.mode: inference in mode 'replay' needs one worker, and there are 2",
        ),
        ({"server": {"workers": 0}}, "server.workers: must be at least 1, not 0"),
        ({"retention": {"responses": 0}}, "retention.responses: must be greater than 0, not 0"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words_at_its_path(tree: dict[str, object], problem: str) -> None:
    assert problems(tree) == [problem]


def test_an_unexpandable_home_is_said_at_the_path_setting() -> None:
    [problem] = problems(storage(path="~nobody-of-this-name/state.db"))
    assert problem.startswith("storage.backends.default.path: '~' cannot be expanded")


def test_two_models_of_one_name_are_refused() -> None:
    models = [{"model_id": "m", "provider_id": "llama"}] * 2
    tree = {"providers": {"inference": [LLAMA]}, "registered_resources": {"models": models}}
    assert problems(tree) == ["registered_resources.models[1].model_id: 'm' is named twice"]


def test_every_store_that_names_a_missing_backend_is_reported() -> None:
    tree: dict[str, object] = {"storage": {"backends": {"main": SQLITE}, "stores": {"prompts": {"backend": "main"}}}}
    assert problems(tree) == [
        "storage.stores.state.backend: unknown backend 'default'; known: main",
        "storage.stores.registry.backend: unknown backend 'default'; known: main",
    ]


def test_the_tilde_is_expanded_in_a_path_and_nowhere_else() -> None:
    config = load({**storage(path="${env.DIR:=~/data}/state.db"), "distro_name": "~/x"})
    assert config.storage.backends["default"].path == Path.home() / "data/state.db"
    assert config.distro_name == "~/x"


def test_apis_default_to_those_that_have_providers_even_if_all_are_skipped() -> None:
    assert load({"providers": {"inference": [LLAMA]}}).apis == ["inference"]
    assert load({"providers": {"inference": [{**LLAMA, "provider_id": ""}]}}).apis == ["inference"]
    assert load({"providers": {"inference": [LLAMA]}, "apis": []}).apis == []


def test_a_model_is_called_by_its_own_name_unless_told_otherwise() -> None:
    models = [
        {"model_id": "m", "provider_id": "llama"},
        {"model_id": "n", "provider_id": "llama", "provider_model_id": "o"},
    ]
    config = load({"providers": {"inference": [LLAMA]}, "registered_resources": {"models": models}})
    assert [model.provider_model_id for model in config.registered_resources.models] == [None, "o"]


def test_a_value_from_the_environment_is_not_shown_and_its_reference_is() -> None:
    assert problems({"server": {"port": "${env.PORT:=8321}"}}, PORT="s3cret") == [
        "server.port: must be a whole number, which the value of ${env.PORT:=8321} is not"
    ]


class Other(BaseModel):
    """A stranger's settings: plain pydantic, with unions and validators of its own."""

    api_key: int = 0
    number: int | list[int] = 0
    nested: "dict[str, Settings] | None" = None
    url: str = "x"

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, url: str) -> str:
        if "://" not in url:
            raise ValueError("give a scheme, such as https://")
        return url


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"api_key": "s3cret"}, ["api_key: must be a whole number, which the value given is not"]),
        ({"number": "x"}, ["number: must be a whole number, not 'x'", "number: must be a list, not 'x'"]),
        ({"nested": {"a": {"numbr": 1}}}, ["nested.a.numbr: unknown key 'numbr'; did you mean 'number'?"]),
        ({"url": 5}, ["url: must be text, not 5"]),
        ({"url": {"a": 1}}, ["url: must be text, not a mapping"]),
        ({"url": "x"}, ["url: give a scheme, such as https://"]),
        ({"nested": {"a": 1}}, ["nested.a: must be a mapping (key: value), not 1"]),
    ],
)
def test_any_pydantic_model_s_errors_are_put_in_plain_words(tree: dict[str, object], expected: list[str]) -> None:
    from llama_conversations.config.findings import key_path_text

    found, findings = parse_settings(Other, tree, at=("config",))
    assert found is None
    assert [f"{key_path_text(finding.path)}: {finding.message}" for finding in findings] == [
        f"config.{message}" for message in expected
    ]
