"""Which providers are installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llama_conversations.errors import ConfigError
from llama_conversations.stack.registry import provider_specs

Install = Callable[[str, str], None]

SPECS = """
from llama_conversations.stack.provider_spec import ProviderConfig, ProviderSpec

def specs():
    return [
        ProviderSpec("inference", kind, ProviderConfig, "nowhere:make", "A test's")
        for kind in {kinds!r}
    ]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package whose entry point is ``specs`` of a module with the given source."""
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[str] = []

    def put(package: str, source: str) -> None:
        module = package.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[llama_conversations.providers]\nthem = {module}:specs\n")

    yield put
    for module in modules:
        sys.modules.pop(module, None)


def test_every_installed_package_s_providers_are_found_by_api_and_type(install: Install) -> None:
    install("lab-b", SPECS.format(kinds=["remote::lab-z", "inline::lab-y"]))
    install("lab-a", SPECS.format(kinds=["remote::lab-x"]))
    found = [key for key in provider_specs() if "lab-" in key[1]]
    assert found == [("inference", "inline::lab-y"), ("inference", "remote::lab-x"), ("inference", "remote::lab-z")]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        ("def specs(): raise OSError('the disk is gone')", "OSError: the disk is gone"),
        ("def specs(): return None", "does not return a list of ProviderSpec"),
        ("def specs(): return ['remote::x']", "does not return a list of ProviderSpec"),
        ("specs = 7", "TypeError"),
        ("", "AttributeError"),
    ],
)
def test_a_broken_package_is_left_out_with_a_warning_that_names_it(
    install: Install, caplog: pytest.LogCaptureFixture, source: str, reason: str
) -> None:
    install("lab-broken", source)
    install("lab-fine", SPECS.format(kinds=["remote::lab-fine"]))
    assert ("inference", "remote::lab-fine") in provider_specs()
    [warning] = [record.getMessage() for record in caplog.records if "lab-broken" in record.getMessage()]
    assert "lab_broken:specs" in warning
    assert reason in warning


def test_a_type_that_two_packages_offer_is_an_error_that_names_both(install: Install) -> None:
    install("lab-one", SPECS.format(kinds=["remote::lab-same", "remote::lab-other"]))
    install("lab-two", SPECS.format(kinds=["remote::lab-same"]))
    with pytest.raises(ConfigError) as caught:
        provider_specs()
    [problem] = caught.value.problems
    assert problem.path == "inference: remote::lab-same"
    assert "'lab-one'" in problem.message
    assert "'lab-two'" in problem.message
