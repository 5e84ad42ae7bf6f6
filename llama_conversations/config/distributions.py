"""Ready-made configurations, found in installed packages."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable

from llama_conversations.config.findings import unknown_name
from llama_conversations.errors import ConfigError, ConfigProblem
from llama_conversations.log import get_logger

ENTRY_POINT_GROUP = "llama_conversations.distributions"
RUN_FILE = "run.yaml"

logger = get_logger(__name__)


@dataclass(frozen=True)
class Distribution:
    """A folder with a ``run.yaml``, named after the folder, in an installed package."""

    name: str
    package: str
    file: Traversable


def list_distributions() -> list[Distribution]:
    """Every distribution of every installed package, by name.

    A package offers them by an entry point of group ``llama_conversations.distributions`` that names a package: each
    folder in it that holds a ``run.yaml`` is one.
    """
    packages = sorted({point.module for point in entry_points(group=ENTRY_POINT_GROUP)})
    found = [distribution for package in packages for distribution in _in_package(package)]
    return sorted(found, key=lambda distribution: (distribution.name, distribution.package))


def find_distribution(name: str) -> Distribution:
    """The distribution of that name.

    Raises:
        ConfigError: there is none, or several packages have one.
    """
    known = list_distributions()
    named = [distribution for distribution in known if distribution.name == name]
    if len(named) == 1:
        return named[0]
    if named:
        files = ", ".join(str(distribution.file) for distribution in named)
        message = f"several packages have a distribution of that name: give the path of one of {files}"
    else:
        names = ", ".join(distribution.name for distribution in known) or "none"
        message = (
            f"{unknown_name('distribution', name, [distribution.name for distribution in known])} "
            f"(installed: {names}; a file is named by its path, such as ./{name}.yaml)"
        )
    raise ConfigError(name, [ConfigProblem("", message)])


def _in_package(package: str) -> Iterator[Distribution]:
    try:
        folders = list(importlib.resources.files(package).iterdir())
    except Exception as error:  # noqa: BLE001 (a stranger's package may fail in any way, and must not take ours along)
        logger.warning("The distributions of package %s cannot be read: %s", package, error)
        return
    for folder in folders:
        file = folder.joinpath(RUN_FILE) if folder.is_dir() else None
        if file is not None and file.is_file():
            yield Distribution(folder.name, package, file)
