"""Which groups of clients are installed here. One that is not is left out, visibly; with ``--no-skips`` it is missed.

Tests of a group have its name as their marker, so ``pytest -m client_agents`` runs one and ``-m "not client_agents"``
leaves it out. The Python groups are extras of the package; its extra ``clients`` is all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Group:
    """Clients that come with one installation.

    Attributes:
        modules: What must be importable.
        programs: What must be on the PATH.
        tests: The files that need them.
        remedy: How to get them.
    """

    tests: frozenset[str]
    remedy: str
    modules: Sequence[str] = ()
    programs: Sequence[str] = ()

    @property
    def missing(self) -> list[str]:
        """What is not there."""
        modules = [name for name in self.modules if find_spec(name) is None]
        return modules + [name for name in self.programs if shutil.which(name) is None]


def _extra(name: str, module: str, tests: str) -> Group:
    return Group(frozenset({tests}), f"pip install -c constraints.txt -e '.[{name}]'", modules=(module,))


GROUPS: Mapping[str, Group] = {
    "client_agents": _extra("client-agents", "agents", "test_openai_agents.py"),
    "client_langchain": _extra("client-langchain", "langchain_openai", "test_langchain.py"),
    "client_pydantic_ai": _extra("client-pydantic-ai", "pydantic_ai", "test_pydantic_ai.py"),
    "node_clients": Group(
        tests=frozenset({"test_openai_node.py", "test_ai_sdk.py"}),
        remedy="install Node.js 20 or newer with npm",
        programs=("node", "npm"),
    ),
}


def absent(file_name: str) -> bool:
    """Whether a test file needs clients that are not here."""
    return any(file_name in group.tests and group.missing for group in GROUPS.values())


def report() -> list[str]:
    """A line for each group that is left out."""
    return [
        f"without the group '{name}' ({', '.join(group.missing)} not found): {group.remedy}"
        for name, group in GROUPS.items()
        if group.missing
    ]
