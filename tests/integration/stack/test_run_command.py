"""``stack run`` as a process: what it prints, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.server import StackServer
from integration.stack.conftest import EchoConfig

START = Callable[..., StackServer]
LAST_LINE = "Ctrl-C stops it"
STACK = str(Path(sys.executable).with_name("stack"))


TELLING = """
import gc, os, sys
from llama_conversations.cli import serving
from llama_conversations.cli.main import app
from llama_conversations.stack.stack import Stack
from llama_conversations.wire.items import StoredItem

opening, lines = Stack.initialize, serving.welcome_lines

async def initialize(stack):
    print("opening:", gc.isenabled())
    await opening(stack)

def welcome_lines(*arguments):
    print("serving:", gc.isenabled(), gc.get_freeze_count() > 10_000)
    print("imported:", sorted(set(sys.modules) & set(os.environ["UNNEEDED"].split())))
    print("validators:", [model.__name__ for model in StoredItem.__mro__[:2] if model.__pydantic_complete__])
    return lines(*arguments)

Stack.initialize, serving.welcome_lines = initialize, welcome_lines
app()
"""

UNNEEDED = (
    "aiosqlite",
    "alembic",
    "cryptography",
    "llama_conversations.cli.supervisor",
    "llama_conversations.stack.recording.inference",
    "openai",
    "pypdf",
    "rich",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.orm",
    "websockets",
)
"""Modules that a server on SQLite does without, on an empty database, too, until somebody asks for what they do."""


@pytest.fixture
def environ(echo_site: Path) -> dict[str, str]:
    """The process finds the third party's package."""
    return {"PYTHONPATH": os.pathsep.join([str(echo_site), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def start(tmp_path: Path, environ: dict[str, str]) -> Iterator[START]:
    servers: list[StackServer] = []

    def begin(source: Mapping[str, object] | str, **more: str) -> StackServer:
        servers.append(StackServer(tmp_path, source, environ | more))
        return servers[-1].start()

    yield begin
    for server in servers:
        server.close()


def stack(environ: Mapping[str, str], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [STACK, *arguments],
        env={**os.environ, "NO_COLOR": "1", **environ},
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


@contextmanager
def serving(
    environ: Mapping[str, str], *arguments: str, cwd: Path, program: Sequence[str] = (STACK,)
) -> Iterator[tuple[subprocess.Popen[str], Sequence[str]]]:
    """A ``stack run`` that serves, and the lines that it has printed."""
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **environ}
    command = [*program, "run", *arguments]
    with subprocess.Popen(command, env=variables, cwd=cwd, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if LAST_LINE in line:
                    break
            yield process, lines
        finally:
            process.terminate()


def told_of_a_start(environ: Mapping[str, str], directory: Path) -> Sequence[str]:
    """What a ``stack run`` tells of itself that has begun to serve an empty database."""
    line = ["inference=echo", "--port", "0", "--env", f"SQLITE_STORE_DIR={directory}"]
    program = (sys.executable, "-c", TELLING)
    with serving({**environ, "UNNEEDED": " ".join(UNNEEDED)}, *line, cwd=directory, program=program) as (_, lines):
        return lines


def wait_for_welcome(server: StackServer) -> str:
    """What was printed, once the last line is there."""
    with server.http() as http:
        while LAST_LINE not in server.log:
            http.get("/health")
    return server.log


def test_it_says_where_it_serves_where_the_data_is_and_what_is_on_and_off(
    start: START, echo_config: EchoConfig, tmp_path: Path
) -> None:
    echo = {"provider_id": "echo", "provider_type": "inline::echo", "config": {"greeting": "${env.HELLO}"}}
    off = {"provider_id": "${env.NO_SUCH_KEY:+cloud}", "provider_type": "remote::openai"}
    alias = {"model_id": "gpt-4.1", "provider_id": "cloud"}
    server = start(
        echo_config(providers={"inference": [echo, off]}, registered_resources={"models": [alias]}), HELLO="Hi "
    )
    log = wait_for_welcome(server)
    port = server.base_url.rpartition(":")[2].removesuffix("/v1")
    assert "Opening echoes [of] you" in log
    assert f"http://localhost:{port}/v1 " in log
    assert f"http://localhost:{port}/docs" in log
    assert str(tmp_path / "state.db") in log
    assert "echo (inline::echo): parrot" in log
    assert "cloud (remote::openai): NO_SUCH_KEY is not set" in log
    assert "model gpt-4.1: its provider 'cloud' is skipped" in log


def test_a_model_server_that_does_not_answer_keeps_nobody_waiting_but_for_models(
    start: START, echo_config: EchoConfig
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        mute = {"provider_id": "mute", "provider_type": "remote::openai", "config": {"base_url": url, "api_key": "x"}}
        server = start(echo_config(providers={"inference": [mute]}))
        with server.http() as http:
            assert http.get("/health").status_code == 200
            assert http.post("/conversations", json={}).status_code == 200
            assert LAST_LINE not in server.log
        assert "mute (remote::openai): no models found" in wait_for_welcome(server)


def test_the_example_that_it_prints_works_when_pasted(start: START, echo_config: EchoConfig, tmp_path: Path) -> None:
    lines = wait_for_welcome(start(echo_config())).splitlines()
    first = lines.index("from openai import OpenAI")
    program = "\n".join(lines[first : first + 3])
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, text=True, capture_output=True, timeout=60, check=True
    )
    assert said.stdout.strip() == "You said: Say hello."


def test_garbage_is_collected_when_it_serves_and_not_before_and_what_was_made_for_the_start_is_left_out(
    environ: dict[str, str], tmp_path: Path
) -> None:
    lines = told_of_a_start(environ, tmp_path)
    assert "opening: False\n" in lines
    assert "serving: True True\n" in lines


def test_a_start_imports_nothing_and_makes_no_large_validator_that_it_does_not_need(
    environ: dict[str, str], tmp_path: Path
) -> None:
    lines = told_of_a_start(environ, tmp_path)
    assert "imported: []\n" in lines
    assert "validators: []\n" in lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(environ: dict[str, str], tmp_path: Path, number: signal.Signals) -> None:
    line = ["inference=echo", "--port", "0", "--env", f"SQLITE_STORE_DIR={tmp_path}"]
    with serving(environ, *line, cwd=tmp_path) as (process, _):
        process.send_signal(number)
        assert process.wait(30) == 0


def test_a_port_in_use_is_said_in_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = ["inference=echo", "--port", port, "--env", f"SQLITE_STORE_DIR={tmp_path}"]
        ended = stack(environ, "run", *line, cwd=tmp_path)
    assert ended.returncode == 1
    assert f"Error: Cannot listen on 127.0.0.1 port {port}: address already in use." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_options_and_variables_on_the_command_line_win(environ: dict[str, str], tmp_path: Path) -> None:
    options = ["--providers", "inference=echo", "--port", "0", "--host", "127.0.0.2"]
    variables = ["--env", "ECHO_GREETING=So=", "--env", f"SQLITE_STORE_DIR={tmp_path}"]
    environ = {**environ, "ECHO_GREETING": "no"}
    with serving(environ, "starter", *options, *variables, cwd=tmp_path) as (_, lines):
        assert any("http://127.0.0.2:" in line for line in lines)
        program = "".join(lines[lines.index("from openai import OpenAI\n") :][:3])
        command = [sys.executable, "-c", program]
        said = subprocess.run(command, text=True, capture_output=True, check=True, timeout=60)
    assert said.stdout.strip() == "So=Say hello."


def test_a_wrong_configuration_is_told_without_a_traceback(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("server: {port: many}\nproviders: {inference: [{provider_id: a, provider_type: inline::ech}]}\n")
    ended = stack(environ, "run", "run.yaml", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "run.yaml: 2 problems\n  server.port: must be a whole number, not 'many'\n" in ended.stderr
    assert "did you mean 'inline::echo'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_models_of_a_running_server_are_listed(
    start: START, echo_config: EchoConfig, environ: dict[str, str], tmp_path: Path
) -> None:
    server = start(echo_config())
    for url in (server.base_url, server.root_url + "/"):
        listed = stack(environ, "list", "models", "--url", url, cwd=tmp_path)
        assert listed.returncode == 0
        assert listed.stdout.split() == ["model", "provider", "parrot", "echo"]
