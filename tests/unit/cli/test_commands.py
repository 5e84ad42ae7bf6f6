"""The command line, in this process."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from typer.testing import CliRunner, Result

import llama_conversations
from llama_conversations.cli.main import app
from llama_conversations.stack import registry
from llama_conversations.stack.provider_spec import ProviderConfig, ProviderSpec

FILE = """\
distro_name: mine
providers:
  inference:
    - provider_id: lab
      provider_type: remote::lab
      config: {api_key: '${env.LAB_KEY}', version: 1.10}
    - {provider_id: '${env.OTHER_KEY:+other}', provider_type: remote::other}
registered_resources:
  models: [{model_id: m, provider_id: other}]
"""


class LabConfig(ProviderConfig):
    api_key: str | None = None
    version: str = "1.0"


@pytest.fixture(autouse=True)
def _lab_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One provider is installed."""
    lab = ProviderSpec("inference", "remote::lab", LabConfig, "nowhere:make", "A laboratory")
    monkeypatch.setattr(registry, "provider_specs", lambda: {("inference", "remote::lab"): lab})


def stack(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments, env={"NO_COLOR": "1"})
    assert result.exit_code == exit_code, result.output
    return result


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(FILE)
    return path


def test_without_a_command_the_help_is_shown() -> None:
    assert "Commands" in stack(exit_code=2).output


def test_the_version_is_that_of_the_package() -> None:
    assert stack("version").output == f"{llama_conversations.__version__}\n"


def test_a_right_file_is_ok(file: Path) -> None:
    assert stack("check", str(file), "--env", "LAB_KEY=k").output == f"{file}: ok\n"


def test_all_problems_of_a_file_are_listed_with_exit_code_1(file: Path) -> None:
    file.write_text(FILE.replace("remote::other", "remote::other, confi: 1") + "server: {port: -1}\n")
    result = stack("check", str(file), "--env", "OTHER_KEY=1", exit_code=1)
    first, *lines = result.output.splitlines()
    assert first == f"{file}: 3 problems"
    assert [line.split(":")[0].strip() for line in lines] == [
        "providers.inference[0].config.api_key",
        "providers.inference[1].confi",
        "server.port",
    ]


def test_one_problem_is_counted_as_one(file: Path) -> None:
    result = stack("check", str(file), exit_code=1)
    assert result.output.startswith(f"{file}: 1 problem\n  providers.inference[0].config.api_key: ")
    assert "LAB_KEY" in result.output


@pytest.mark.parametrize("command", [["run"], ["config", "show"]])
def test_problems_are_told_without_a_traceback(command: list[str], file: Path) -> None:
    result = stack(*command, str(file), exit_code=1)
    assert result.stdout == ""
    assert result.stderr.startswith(f"{file}: 1 problem\n")
    assert "Traceback" not in result.stderr


def test_a_configuration_is_shown_resolved_and_masked_with_what_was_left_out(file: Path) -> None:
    output = stack("config", "show", str(file), "--env", "LAB_KEY=hunter2").output
    comments = [line for line in output.splitlines() if line.startswith("#")]
    assert comments == [
        f"# {file}",
        "# skipped: inference provider other (remote::other): OTHER_KEY is not set",
        "# skipped: model m: its provider 'other' is skipped: OTHER_KEY is not set",
    ]
    assert "hunter2" not in output
    shown = yaml.safe_load(output)
    assert shown["distro_name"] == "mine"
    assert shown["server"]["port"] == 8321
    [provider] = shown["providers"]["inference"]
    assert provider["config"] == {"api_key": "********", "version": "1.10"}


def test_a_provider_that_is_not_installed_is_shown_as_it_is_written(tmp_path: Path) -> None:
    entry = {"provider_id": "x", "provider_type": "remote::gone", "config": {"a": [1]}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"providers": {"inference": [entry]}}))
    shown = yaml.safe_load(stack("config", "show", str(tmp_path / "run.yaml")).output)
    assert shown["providers"]["inference"] == [entry]


@pytest.mark.parametrize("variable", ["NOVALUE", "=x", ""])
def test_a_variable_that_is_no_pair_is_a_wrong_use(variable: str, file: Path) -> None:
    assert "NAME=VALUE" in stack("check", str(file), "--env", variable, exit_code=2).output


@pytest.mark.parametrize("options", [["--port", "65536"], ["--port", "-1"], ["--port", "x"], ["--wat"]])
def test_wrong_options_are_a_wrong_use(options: list[str], file: Path) -> None:
    stack("run", str(file), *options, exit_code=2)


def test_installed_providers_are_listed() -> None:
    assert stack("list", "providers").output.splitlines() == [
        "api        provider type  what it is",
        "inference  remote::lab    A laboratory",
    ]


def test_installed_distributions_are_listed() -> None:
    assert any(line.startswith("starter ") for line in stack("list", "distributions").output.splitlines())


def test_apis_are_listed_with_who_implements_them() -> None:
    lines = [line.split(maxsplit=1) for line in stack("list", "apis").output.splitlines()]
    assert ["conversations", "this server"] in lines
    assert ["inference", "providers"] in lines


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the same text."""

    text: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("text", ["", "<html>", '{"object":"list","data":[{"id":"gpt-4.1"}]}'])
def test_a_server_of_another_kind_is_told_as_such(url: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answering, "text", text)
    result = stack("list", "models", "--url", url, exit_code=1)
    assert f"{url}/v1/models does not answer as it should" in result.stderr
    assert "no list of models" in result.stderr


def test_where_no_server_answers_it_is_said_how_to_start_one(free_port: int) -> None:
    result = stack("list", "models", "--url", f"http://127.0.0.1:{free_port}", exit_code=1)
    assert "Connection refused" in result.stderr
    assert "stack run starter" in result.stderr


@pytest.mark.parametrize("url", ["localhost:8321", "file:///etc/passwd", "http://[::1", "http://exa mple"])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert "Error: " in stack("list", "models", "--url", url, exit_code=1).stderr


@pytest.fixture
def free_port() -> int:
    """A port at which nobody listens."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
