"""The report as pictures: one SVG for each scenario. Imports matplotlib, which only `just bench` installs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .lanes import Row as LanesRow
from .report import Row


def plot(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``throughput-SCENARIO.svg`` for each scenario: bars are medians, whiskers lowest and highest."""
    mpl.rcParams["svg.hashsalt"] = "tars"  # the same figures make the same file
    written: list[Path] = []
    for scenario in dict.fromkeys(row.scenario for row in rows):
        of = sorted((row for row in rows if row.scenario == scenario), key=lambda row: row.per_cpu_s.median)
        path = folder / f"throughput-{scenario.lower().replace(', ', '-').replace(' ', '')}.svg"
        _bars(of, scenario).savefig(path, metadata={"Date": None})
        written.append(path)
    return written


def _bars(rows: Sequence[Row], scenario: str) -> Figure:
    figure = Figure(figsize=(8, 0.45 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    medians = [row.per_cpu_s.median for row in rows]
    whiskers = [[row.per_cpu_s.median - row.per_cpu_s.low for row in rows], [row.per_cpu_s.high - row.per_cpu_s.median for row in rows]]
    colours = ["#c0392b" if row.contender.startswith("tars") else "#7f8c8d" for row in rows]
    bars = axes.barh([row.contender for row in rows], medians, xerr=whiskers, color=colours, capsize=3)
    axes.bar_label(bars, [f" {median:,.0f}" for median in medians], padding=6)
    axes.margins(x=0.15)
    axes.set_title(f"messages per CPU-second of the consumer, {scenario}")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_lanes(rows: Sequence[LanesRow], folder: Path) -> Path:
    """Write ``lanes.svg``: messages per second by the number of lanes, and the ideal, for each wait."""
    mpl.rcParams["svg.hashsalt"] = "tars"
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for wait_ms in dict.fromkeys(row.wait_ms for row in rows):
        of = [row for row in rows if row.wait_ms == wait_ms]
        lanes, medians = [row.concurrency for row in of], [row.per_s.median for row in of]
        whiskers = [[row.per_s.median - row.per_s.low for row in of], [row.per_s.high - row.per_s.median for row in of]]
        (line, *_) = axes.errorbar(lanes, medians, yerr=whiskers, marker="o", capsize=3, label=f"{wait_ms:g} ms")
        axes.plot(lanes, [medians[0] / lanes[0] * each for each in lanes], "--", color=line.get_color(), alpha=0.5)
    axes.plot([], [], "--", color="#7f8c8d", label="ideal")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=10)
    axes.set_xticks([row.concurrency for row in rows], [str(row.concurrency) for row in rows])
    axes.set_xlabel("lanes")
    axes.set_title("messages per second of an actor whose handler waits")
    axes.legend()
    axes.spines[["top", "right"]].set_visible(False)
    path = folder / "lanes.svg"
    figure.savefig(path, metadata={"Date": None})
    return path
