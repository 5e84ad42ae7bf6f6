"""The table, the JSON and the chart."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.load import Row

_FIGURES = {"per_second": "per second", "p50_ms": "p50 ms", "p99_ms": "p99 ms"}
_CPU = {"cpu_ms": "server", "database_cpu_ms": "database", "model_cpu_ms": "model", "client_cpu_ms": "clients"}


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table."""
    made = Table(title="Benchmarks", title_justify="left")
    cpu = f"CPU ms of\n{' / '.join(_CPU.values())}"
    for heading in (
        "case",
        "what",
        "database",
        "workers",
        "clients",
        *_FIGURES.values(),
        cpu,
        "more",
        "calibration ms",
    ):
        made.add_column(heading, justify="left" if heading in ("case", "what", "database", "more") else "right")
    for row in rows:
        _add(made, row)
    return made


def _add(made: Table, row: Row) -> None:
    figures = [f"{value:,.2f}" if (value := getattr(row, name)) else "" for name in _FIGURES]
    cpu = " / ".join(f"{value:.2f}" if (value := getattr(row, name)) else "-" for name in _CPU)
    more = ", ".join(f"{name} {_shown(value)}" for name, value in row.more.items())
    numbers = (str(row.workers), str(row.clients))
    made.add_row(row.case, row.what, row.database, *numbers, *figures, cpu, more, f"{row.calibration_ms:.1f}")


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"  # shares and ratios are below, sizes above


def label(row: Row) -> str:
    """A row's name, no other's."""
    workers = f", {row.workers} workers" if row.workers > 1 else ""
    return f"{row.case}: {row.what} ({row.clients}{workers}) {row.database}".rstrip()


def write(rows: Sequence[Row], path: Path, console: Console) -> None:
    """The rows as JSON, and beside it a chart, if matplotlib is installed."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    found = {"version": version("llama-conversations"), "machine": machine, "rows": [asdict(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    console.print(f"Written: {path}")
    try:
        chart(rows, path.with_suffix(".png"))
    except ImportError:
        console.print("No chart: it takes matplotlib (pip install 'llama-conversations[bench]').")
    else:
        console.print(f"Written: {path.with_suffix('.png')}")


def chart(rows: Sequence[Row], path: Path) -> None:
    """Operations per second and milliseconds, each as bars on a logarithmic scale."""
    import matplotlib as mpl  # an extra: nothing else needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = [row for row in rows if row.per_second]
    labels = [label(row) for row in shown]
    figure, axes = plt.subplots(1, 2, figsize=(16, 1.5 + 0.28 * len(shown)), sharey=True)
    for axis, name in zip(axes, ("per_second", "p50_ms"), strict=True):
        colors = ["#bbbbbb" if row.case == "limit" else "#3366aa" for row in shown]
        bars = axis.barh(labels, [getattr(row, name) for row in shown], color=colors)
        axis.bar_label(bars, fmt="%.4g", padding=3, fontsize=7)
        axis.set_xscale("log")
        axis.set_title(f"{_FIGURES[name]} (grey: what the machine allows)", fontsize=9)
    axes[0].invert_yaxis()
    axes[0].margins(y=0.01)
    axes[0].tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
