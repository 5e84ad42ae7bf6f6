"""Distributions are found in installed packages, ours and others' alike."""

import logging
from pathlib import Path

import pytest

from llama_conversations.config.distributions import list_distributions
from llama_conversations.config.loader import load_run_config
from llama_conversations.errors import ConfigError


def install(site: Path, package: str, files: dict[str, str]) -> None:
    """Put a package with an entry point on the path, as pip would."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[llama_conversations.distributions]\n{package} = {package}\n")
    for name, text in files.items():
        file = site / package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


RUN = "version: 1\ndistro_name: theirs\n"


def test_each_folder_of_a_third_party_package_that_holds_a_run_yaml_is_a_distribution(site: Path) -> None:
    files = {"__init__.py": "", "lab/run.yaml": RUN, "cluster/run.yaml": RUN, "notes/x.txt": "", "run.yaml": RUN}
    install(site, "lc_third_party", files)
    found = [(each.name, each.package) for each in list_distributions() if each.package == "lc_third_party"]
    assert found == [("cluster", "lc_third_party"), ("lab", "lc_third_party")]
    loaded = load_run_config("lab", {})
    assert loaded.config.distro_name == "theirs"
    assert loaded.source == str(site / "lc_third_party/lab/run.yaml")


def test_our_own_starter_is_found_beside_them(site: Path) -> None:
    install(site, "lc_beside", {"__init__.py": "", "lab/run.yaml": RUN})
    assert {"starter", "lab"} <= {each.name for each in list_distributions()}


def test_a_package_that_fails_to_import_does_not_hide_the_others(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "lc_broken", {"__init__.py": "raise RuntimeError('boom')", "lab/run.yaml": RUN})
    with caplog.at_level(logging.WARNING):
        assert "starter" in {each.name for each in list_distributions()}
    assert "lc_broken cannot be read: boom" in caplog.text


def test_a_name_that_two_packages_use_is_refused_with_both_files(site: Path) -> None:
    install(site, "lc_one", {"__init__.py": "", "lab/run.yaml": RUN})
    install(site, "lc_two", {"__init__.py": "", "lab/run.yaml": RUN})
    with pytest.raises(ConfigError) as raised:
        load_run_config("lab", {})
    assert str(site / "lc_one/lab/run.yaml") in str(raised.value)
    assert str(site / "lc_two/lab/run.yaml") in str(raised.value)


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError) as raised:
        load_run_config("startr", {})
    assert raised.value.source == "startr"
    assert "did you mean 'starter'?" in str(raised.value)
    assert "installed: " in str(raised.value)


def test_a_name_is_never_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starter").write_text("version: 99\n")
    monkeypatch.chdir(tmp_path)
    assert load_run_config("starter", {}).config.distro_name == "starter"


def test_starter_serves_the_model_in_the_process_where_nothing_is_set() -> None:
    loaded = load_run_config("starter", {})
    assert [
        (entry.provider_id, entry.provider_type, entry.config) for entry in loaded.config.providers["inference"]
    ] == [("llama-cpp", "inline::llama-cpp", {"model_path": None, "context_length": None})]
    assert [(skipped.provider_id, skipped.reason) for skipped in loaded.skipped_providers] == [
        ("openai", "OPENAI_API_KEY is not set"),
        ("ollama", "OLLAMA_URL is not set"),
        ("vllm", "VLLM_URL is not set"),
        ("mcp", "ENABLE_MCP is not set"),
        ("searxng", "SEARXNG_URL is not set"),
        ("brave", "BRAVE_API_KEY is not set"),
        ("tavily", "TAVILY_API_KEY is not set"),
    ]
    assert loaded.config.storage.backends["default"].path == Path.home() / ".llama_conversations/state.db"
    assert (loaded.config.server.host, loaded.config.server.port) == ("127.0.0.1", 8321)


def test_starter_takes_everything_from_the_environment() -> None:
    environ = {
        "LLAMA_CPP_PROVIDER": "__disabled__",
        "OPENAI_API_KEY": "0012",
        "OPENAI_BASE_URL": "http://proxy/v1",
        "OLLAMA_URL": "http://ollama/v1",
        "VLLM_URL": "http://vllm/v1",
        "VLLM_API_TOKEN": "~tok",
        "ENABLE_MCP": "1",
        "SEARXNG_URL": "http://searxng/search",
        "BRAVE_API_KEY": "0013",
        "TAVILY_API_KEY": "0014",
        "SQLITE_STORE_DIR": "/data",
        "LLAMA_CONVERSATIONS_HOST": "0.0.0.0",
        "LLAMA_CONVERSATIONS_PORT": "9000",
    }
    loaded = load_run_config("starter", environ)
    assert {entry.provider_id: entry.config for entry in loaded.config.providers["inference"]} == {
        "openai": {"base_url": "http://proxy/v1", "api_key": "0012"},
        "ollama": {"base_url": "http://ollama/v1"},
        "vllm": {"base_url": "http://vllm/v1", "api_key": "~tok"},
    }
    assert [entry.provider_id for entry in loaded.config.providers["tool_runtime"]] == ["mcp"]
    assert {entry.provider_id: entry.config for entry in loaded.config.providers["web_search"]} == {
        "searxng": {"preset": "searxng", "url": "http://searxng/search"},
        "brave": {"preset": "brave", "api_key": "0013"},
        "tavily": {"preset": "tavily", "api_key": "0014"},
    }
    assert [skipped.reason for skipped in loaded.skipped_providers] == ["LLAMA_CPP_PROVIDER is __disabled__"]
    assert str(loaded.config.storage.backends["default"].path) == "/data/state.db"
    assert (loaded.config.server.host, loaded.config.server.port) == ("0.0.0.0", 9000)
