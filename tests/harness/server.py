"""The server as a process of its own, started by its own command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import yaml
from openai import AsyncOpenAI, OpenAI

START_SECONDS = 60
STOP_SECONDS = 40

UPSTREAM_KEY = "sk-upstream-secret"
"""What the server shows the model server, and nobody else."""

SERVER = {"port": 0, "shutdown_timeout_seconds": 10}
"""How a run.yaml of the tests has its server, unless it says something else."""

SEARCH_KEY = "sk-search-secret"
"""What the server shows the search service, and nobody else."""

_SERVING = re.compile(r"Serving\s+(http://\S+/v1)")


def scripted_config(directory: Path, model_url: str, **sections: object) -> dict[str, object]:
    """A run.yaml: SQLite in ``directory``, one provider that is the scripted model server at ``model_url``."""
    config: dict[str, object] = {
        "version": 1,
        "distro_name": "test",
        "providers": {
            "inference": [
                {
                    "provider_id": "scripted",
                    "provider_type": "remote::openai",
                    "config": {"base_url": model_url, "api_key": UPSTREAM_KEY, "max_retries": 0},
                }
            ]
        },
        "storage": {"backends": {"default": {"type": "sql_sqlite", "path": str(directory / "state.db")}}},
        "server": SERVER,
    }
    return config | sections


def search_providers(url: str, **settings: object) -> list[dict[str, object]]:
    """What a run.yaml has under ``web_search`` for a service that answers as SearXNG does."""
    config = {"preset": "searxng", "url": url, "api_key": SEARCH_KEY, **settings}
    return [{"provider_id": "search", "provider_type": "remote::web-search", "config": config}]


class StackServer:
    """One ``stack run``; it can be stopped, killed and started again on the same data.

    Args:
        source: A run.yaml's content, or a distribution's name.
        environ: Variables beside this process's own.
    """

    def __init__(self, directory: Path, source: Mapping[str, object] | str, environ: Mapping[str, str] | None = None):
        if isinstance(source, str):
            self._source = source
        else:
            path = directory / "run.yaml"
            path.write_text(yaml.safe_dump(dict(source), allow_unicode=True), encoding="utf-8")
            self._source = str(path)
        self._directory = directory
        self._environ = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **(environ or {})}
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""
        self.after_kill: Callable[[int], None] | None = None
        """Called with the pid, once the process was killed."""
        self.output: list[str] = []

    @property
    def root_url(self) -> str:
        """The server's URL without ``/v1``."""
        return self.base_url.removesuffix("/v1")

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> StackServer:
        """Start the process and wait until it says that it serves."""
        self.base_url = ""
        self._process = self._launched("run", self._source, "--port", "0")
        serving = threading.Event()
        threading.Thread(target=self._read, args=(self._process, serving), daemon=True).start()
        if not serving.wait(START_SECONDS) or not self.base_url:
            self.kill()
            raise AssertionError("the server did not start:\n" + self.log)
        return self

    def _launched(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("stack")), *arguments]
        return subprocess.Popen(
            command, cwd=self._directory, env=self._environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def _read(self, process: subprocess.Popen[str], serving: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.output.append(line)
                if found := _SERVING.search(line):
                    self.base_url = found[1].replace("localhost", "127.0.0.1")
                    serving.set()
        serving.set()

    @property
    def log(self) -> str:
        """Everything that the process printed."""
        return "".join(self.output)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        assert self._process is not None
        self._process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        assert self._process is not None
        return self._process.poll() is not None

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Ask it to end and wait; its exit code."""
        self.ask_to_stop()
        return self.wait()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        if self.after_kill is not None:
            self.after_kill(self._process.pid)

    def close(self) -> None:
        """Stop it if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def http(self) -> httpx2.Client:
        """A plain HTTP client; paths are below ``/v1``."""
        return httpx2.Client(base_url=self.base_url, timeout=60, headers={"authorization": "Bearer none"})

    def client(self, **options: object) -> OpenAI:
        """The official client, without retries unless asked for."""
        return OpenAI(**{"base_url": self.base_url, "api_key": "none", "max_retries": 0, **options})

    def async_client(self, **options: object) -> AsyncOpenAI:
        """The official asynchronous client."""
        return AsyncOpenAI(**{"base_url": self.base_url, "api_key": "none", "max_retries": 0, **options})
