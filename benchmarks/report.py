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

_FIGURES = {"per_second": "per second", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "cpu_ms": "server CPU ms"}


def table() -> Table:
    """A table that rows can be added to."""
    made = Table(title="Benchmarks", title_justify="left")
    for heading in ("case", "what", "clients", *_FIGURES.values(), "more", "calibration ms"):
        made.add_column(heading, justify="left" if heading in ("case", "what", "more") else "right")
    return made


def add(made: Table, row: Row) -> None:
    """Add a row to the table."""
    figures = [f"{value:,.2f}" if (value := getattr(row, name)) else "" for name in _FIGURES]
    more = ", ".join(f"{name} {value:,.1f}" for name, value in row.more.items())
    made.add_row(row.case, row.what, str(row.clients), *figures, more, f"{row.calibration_ms:.1f}")


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
    labels = [f"{row.case}: {row.what} ({row.clients})" for row in shown]
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
