"""Loading: sources, and everything that is wrong at once."""

from pathlib import Path

import pytest

from llama_conversations.config.loader import load_run_config
from llama_conversations.errors import ConfigError, EnvVarError


def write(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "run.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def raised(source: str | Path | dict[str, object], **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_run_config(source, environ)
    return caught.value


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_is_loaded_by_its_path(tmp_path: Path, as_text: bool) -> None:
    file = write(tmp_path, "version: 1\nserver:\n  port: ${env.PORT:=9}\n")
    loaded = load_run_config(str(file) if as_text else file, {})
    assert (loaded.config.server.port, loaded.source) == (9, str(file))


def test_a_path_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "distro_name: mine\n")
    assert load_run_config("~/run.yaml", {}).config.distro_name == "mine"


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert load_run_config(write(tmp_path, b"\xef\xbb\xbfdistro_name: x\n"), {}).config.distro_name == "x"


def test_a_mapping_is_loaded_as_it_is() -> None:
    loaded = load_run_config({"storage": {"backends": {"default": {"type": "sql_sqlite", "path": Path("/x")}}}}, {})
    assert loaded.config.storage.backends["default"].path == Path("/x")
    assert loaded.source == "<mapping>"


def test_the_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_TEST_PORT", "1234")
    assert load_run_config({"server": {"port": "${env.LLAMA_TEST_PORT}"}}).config.server.port == 1234


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "the file must hold a mapping (key: value) at its top"),
        ("a\n", "the file must hold a mapping (key: value) at its top"),
        (b"a: \xff\n", "the file is not UTF-8 (byte 3)"),
        ("a: [\n", "line 2, column 1: while parsing a flow node: expected the node content, but found '<stream end>'"),
    ],
)
def test_a_file_that_holds_no_configuration_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    file = write(tmp_path, text)
    assert str(raised(file)) == f"{file}: {message}"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert (
        str(raised(tmp_path / "none.yaml"))
        == f"{tmp_path}/none.yaml: the file cannot be read: No such file or directory"
    )
    assert str(raised(tmp_path)) == f"{tmp_path}: the file cannot be read: Is a directory"
    assert "No such file" in str(raised("~nobody-of-this-name/run.yaml"))


def test_one_missing_variable_names_itself_its_place_and_both_ways_out() -> None:
    error = raised({"server": {"port": "${env.MY_PORT}"}})
    assert isinstance(error, EnvVarError)
    assert (error.name, error.path) == ("MY_PORT", "server.port")
    assert "set it" in str(error)
    assert "${env.MY_PORT:=default}" in str(error)


def test_several_missing_variables_are_reported_together() -> None:
    error = raised({"server": {"port": "${env.P}", "host": "${env.H}"}})
    assert not isinstance(error, EnvVarError)
    assert [problem.path for problem in error.problems] == ["server.port", "server.host"]
    assert all("is not set or empty" in problem.message for problem in error.problems)


def test_a_malformed_reference_is_refused_at_its_path(tmp_path: Path) -> None:
    file = write(tmp_path, "server:\n  host: a ${env.H b\n")
    assert str(raised(file)).startswith(f"{file}: server.host: '${{env.H b' is malformed: write ")


def test_everything_wrong_is_reported_at_once_and_once(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "server:\n  port: x\n  port: 2\n  hots: y\n  host: ${env.HOST}\n  limits: {max_body_bytes: 0}\n"
        "storage:\n  backends:\n    default:\n      type: ${env.TYPE}\n      path: /x\n",
    )
    error = raised(file)
    assert error.source == str(file)
    assert sorted(problem.path for problem in error.problems) == [
        "server.host",
        "server.hots",
        "server.limits.max_body_bytes",
        "server.port",
        "storage.backends.default.type",
    ]
    assert str(error).count(f"{file}: ") == 5


def test_paths_are_those_of_the_file_where_entries_before_were_skipped() -> None:
    tree: dict[str, object] = {
        "providers": {
            "inference": [
                {"provider_id": "${env.URL:+a}", "provider_type": "remote::a"},
                {"provider_id": "b", "provider_type": "wrong"},
            ]
        }
    }
    assert [problem.path for problem in raised(tree).problems] == ["providers.inference[1].provider_type"]


def test_a_provider_s_place_in_the_file_is_known_to_who_reads_its_settings() -> None:
    entries = [
        {"provider_id": "${env.U:+a}", "provider_type": "remote::a"},
        {"provider_id": "b", "provider_type": "remote::b"},
    ]
    loaded = load_run_config({"providers": {"inference": entries}}, {})
    assert loaded.provider_paths == {("inference", "b"): ("providers", "inference", 1)}


def test_skipped_providers_and_models_are_reported_with_their_reasons() -> None:
    loaded = load_run_config(
        {
            "providers": {
                "inference": [
                    {"provider_id": "${env.URL:+a}", "provider_type": "remote::a", "config": {"k": "${env.K}"}}
                ]
            },
            "registered_resources": {"models": [{"model_id": "m", "provider_id": "a"}]},
        },
        {},
    )
    assert [(each.api, each.provider_type, each.provider_id, each.reason) for each in loaded.skipped_providers] == [
        ("inference", "remote::a", "a", "URL is not set")
    ]
    assert [(each.model_id, each.reason) for each in loaded.skipped_models] == [
        ("m", "its provider 'a' is skipped: URL is not set")
    ]
