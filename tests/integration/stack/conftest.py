"""A third party's provider package, installed for the tests, and configurations that use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ECHO_PACKAGE = Path(__file__).parents[2] / "packages" / "echo_provider"

EchoConfig = Callable[..., dict[str, object]]


@pytest.fixture(scope="session")
def echo_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(ECHO_PACKAGE)]
    subprocess.run(command, check=True, timeout=60)
    return site


@pytest.fixture
def echo_installed(echo_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is installed for this process."""
    monkeypatch.syspath_prepend(echo_site)
    yield
    for name in ("echo_provider", "echo_provider.inference"):
        sys.modules.pop(name, None)


@pytest.fixture
def echo_config(tmp_path: Path) -> EchoConfig:
    """A run.yaml with one echo; sections may be added or replaced."""

    def config(**sections: object) -> dict[str, object]:
        echo = {"provider_id": "echo", "provider_type": "inline::echo", "config": {"greeting": "You said: "}}
        return {
            "version": 1,
            "distro_name": "echoes [of] you",
            "providers": {"inference": [echo]},
            "storage": {"backends": {"default": {"type": "sql_sqlite", "path": str(tmp_path / "state.db")}}},
            "server": {"port": 0, "shutdown_timeout_seconds": 10},
            **sections,
        }

    return config
