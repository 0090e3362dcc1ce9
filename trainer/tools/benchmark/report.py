"""The benchmark's results as JSON, as a table and as a chart."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from trainer.kernels import cpu
from trainer.reporting import markdown
from trainer.tools.benchmark.cases import BASELINE, CASES
from trainer.tools.benchmark.runner import Result


def summary(
    results: Mapping[str, Result],
    kernel_times: Mapping[str, Sequence[float]],
    batch_size: int,
    command: str,
) -> dict:
    """All figures, ready for JSON.

    Args:
      results: Measurements of each case, by name.
      kernel_times: The kernel time of some cases: seconds per step, one number for each round.
      batch_size: Global batch size.
      command: The command that ran the benchmark.
    """
    loops = {}
    for name, result in results.items():
        rate = batch_size / np.array(result.seconds_per_step)
        entry: dict[str, Any] = {"title": CASES[name].title, "images_per_second": _spread(rate)}
        entry |= {"first_losses": result.losses, "peak_bytes": result.peak_bytes}
        entry["seconds_per_step"] = result.seconds_per_step
        if BASELINE in results:
            baseline = np.array(results[BASELINE].seconds_per_step)
            entry["ratio_to_notebook"] = _spread(baseline / np.array(result.seconds_per_step))
        if name in kernel_times:
            share = np.array(kernel_times[name]) / np.array(result.seconds_per_step)
            entry["kernel_share"] = _spread(share)
            entry["kernel_time_ms"] = _spread(1000 * np.array(kernel_times[name]))
        loops[name] = entry
    return {
        "command": command,
        "batch_size": batch_size,
        "rounds": len(next(iter(results.values())).seconds_per_step),
        "processor": cpu.description(),
        "cores": len(os.sched_getaffinity(0)),
        "tensorflow": tf.__version__,
        "loops": loops,
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "quartile_1": float(low), "quartile_3": float(high)}


def as_markdown(figures: Mapping[str, Any]) -> str:
    """The figures in Markdown: medians over the rounds, with quartiles in brackets."""
    header = ["loop", "images/s", "x notebook", "kernel share", "peak memory", "first losses"]
    rows = [
        [
            entry["title"],
            _shown(entry["images_per_second"], 0),
            _shown(entry.get("ratio_to_notebook"), 2),
            _shown(entry.get("kernel_share"), 2),
            f"{entry['peak_bytes'] / 1e6:,.0f} MB",
            ", ".join(f"{loss:.5f}" for loss in entry["first_losses"]),
        ]
        for entry in figures["loops"].values()
    ]
    return (
        f"{markdown.table(header, rows)}\n\n"
        f"{figures['processor']}, {figures['cores']} cores; TensorFlow {figures['tensorflow']}; "
        f"batch {figures['batch_size']}, {figures['rounds']} rounds: `{figures['command']}`"
    )


def _shown(spread: Mapping[str, float] | None, digits: int) -> str:
    if spread is None:
        return ""
    low, median, high = (f"{spread[k]:.{digits}f}" for k in ("quartile_1", "median", "quartile_3"))
    return f"{median} ({low}-{high})"


def chart(figures: Mapping[str, Any], path: str) -> None:
    """Writes a PNG of bars: images per second, with quartiles."""
    entries = list(figures["loops"].values())[::-1]
    rates = [entry["images_per_second"] for entry in entries]
    medians = np.array([rate["median"] for rate in rates])
    errors = [
        medians - [rate["quartile_1"] for rate in rates],
        [rate["quartile_3"] for rate in rates] - medians,
    ]
    figure = Figure(figsize=(7, 0.4 * len(entries) + 1), layout="constrained")
    axes = figure.subplots()
    axes.set_xmargin(0.1)
    axes.barh([entry["title"] for entry in entries], medians, xerr=errors, height=0.6)
    for i, entry in enumerate(entries):
        if ratio := entry.get("ratio_to_notebook"):
            right = rates[i]["quartile_3"] + medians.max() / 60
            axes.text(right, i, f"{ratio['median']:.2f}x", va="center")
    axes.set(xlabel=f"images/s, batch {figures['batch_size']}, {figures['processor']}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
