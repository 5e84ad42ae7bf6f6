"""What the clients' tests share: one real server that clients find by the environment alone, and Node's packages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from filelock import FileLock

from acceptance.clients import groups
from harness.forked import ForkedServer
from harness.server import StackServer, scripted_config
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

NODE_SOURCES = Path(__file__).with_name("node")
NPM_SECONDS = 110
SCRIPT_SECONDS = 60

FOREIGN = ("OPENAI_", "LANGCHAIN_", "LANGSMITH_", "LOGFIRE_")
"""Variables that would make a client talk to somebody else."""

pytest.register_assert_rewrite(*(f"harness.{name}" for name in ("answers", "event_stream", "tools", "turns")))


def pytest_configure(config: pytest.Config) -> None:
    for name, group in groups.GROUPS.items():
        config.addinivalue_line("markers", f"{name}: needs {', '.join([*group.modules, *group.programs])}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what cannot run here; ``--no-skips`` collects everything, so that what is missing is an error."""
    if config.getoption("--no-skips"):
        return None
    return groups.absent(collection_path.name) or None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in groups.report():
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    """The model server; the model's name and words of the text choose what it does."""
    with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="session")
def server(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackServer]:
    """The server that all clients of a worker talk to; whatever they send, no fault of its own may show in its log."""
    directory = tmp_path_factory.mktemp("server")
    config = scripted_config(directory, model.base_url)
    policy = {"policy": {"allow": ["127.0.0.1"]}}
    runtime = {"provider_id": "mcp", "provider_type": "inline::mcp", "config": policy}
    config["providers"] = {**config["providers"], "tool_runtime": [runtime]}
    server = ForkedServer(directory, config).start()
    try:
        yield server
        server.stop()
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="session")
def mcp_server() -> Iterator[ScriptedMcp]:
    """A server of tools that requests may name."""
    with ScriptedMcp() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: StackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets, and all that a user sets, to bring a client here."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@pytest.fixture
def tag() -> str:
    """A word that marks a test's own requests in the model server's journal: ``tag=<word>`` in a user's text."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def node_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of ``node/`` beside the packages that they name; the packages are installed once per user."""
    workspace = tmp_path_factory.mktemp("node")
    for script in NODE_SOURCES.glob("*.mjs"):
        shutil.copy(script, workspace)
    (workspace / "node_modules").symlink_to(_installed_packages() / "node_modules")
    return workspace


def _installed_packages() -> Path:
    """The directory where npm has installed ``package.json``; one for each content and version of Node."""
    manifest = (NODE_SOURCES / "package.json").read_bytes()
    version = _output_of(["node", "--version"], NODE_SOURCES, SCRIPT_SECONDS).encode()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llama-conversations" / "node-clients"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / hashlib.sha256(manifest + version).hexdigest()[:16]
    with FileLock(f"{place}.lock", timeout=NPM_SECONDS):
        if not place.exists():
            _install(manifest, place)
    return place


def _install(manifest: bytes, place: Path) -> None:
    unfinished = place.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    (unfinished / "package.json").write_bytes(manifest)
    command = (
        "npm install --no-package-lock --ignore-scripts --no-audit --no-fund --engine-strict=false --loglevel=error"
    )
    _output_of(command.split(), unfinished, NPM_SECONDS)
    unfinished.rename(place)


def _output_of(command: Sequence[str], cwd: Path, seconds: float, **environ: str) -> str:
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


class RunScript(Protocol):
    """Runs a script of ``node/`` as a user would."""

    def __call__(self, script: str, **inputs: object) -> Any:
        """The JSON that the script printed. ``inputs`` are its ``INPUT`` in the environment, as JSON."""
        ...


@pytest.fixture
def node(node_workspace: Path) -> RunScript:
    """Node, in a directory that has the packages."""

    def run(script: str, **inputs: object) -> Any:
        return json.loads(_output_of(["node", script], node_workspace, SCRIPT_SECONDS, INPUT=json.dumps(inputs)))

    return run
