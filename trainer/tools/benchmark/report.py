"""What the race found, as a table, as JSON and as a chart."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from trainer.kernels import cpu
from trainer.tools.benchmark.entrants import BASELINE, ENTRANTS
from trainer.tools.benchmark.race import Result


def summary(
    results: Mapping[str, Result],
    floors: Mapping[str, Sequence[float]],
    batch_size: int,
    command: str,
) -> dict:
    """All figures, ready for JSON.

    Args:
      results: Of the race, by entrant.
      floors: The kernel floor in seconds a step, a number a round, of some entrants.
      batch_size: Global batch size.
      command: What was typed.
    """
    loops = {}
    for name, result in results.items():
        rate = batch_size / np.array(result.seconds_per_step)
        entry: dict[str, Any] = {"title": ENTRANTS[name].title, "images_per_second": _spread(rate)}
        entry |= {"first_losses": result.losses, "peak_bytes": result.peak_bytes}
        entry["seconds_per_step"] = result.seconds_per_step
        if BASELINE in results:
            baseline = np.array(results[BASELINE].seconds_per_step)
            entry["ratio_to_notebook"] = _spread(baseline / np.array(result.seconds_per_step))
        if name in floors:
            share = np.array(floors[name]) / np.array(result.seconds_per_step)
            entry["share_of_kernel_floor"] = _spread(share)
            entry["kernel_floor_ms"] = _spread(1000 * np.array(floors[name]))
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


def table(figures: Mapping[str, Any]) -> str:
    """The figures in Markdown: medians over the rounds, with quartiles in brackets."""
    lines = [
        "| loop | images/s | x notebook | of kernel floor | peak memory | first losses |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in figures["loops"].values():
        cells = [
            entry["title"],
            _shown(entry["images_per_second"], 0),
            _shown(entry.get("ratio_to_notebook"), 2),
            _shown(entry.get("share_of_kernel_floor"), 2),
            f"{entry['peak_bytes'] / 1e6:,.0f} MB",
            ", ".join(f"{loss:.5f}" for loss in entry["first_losses"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    lines.append(
        f"{figures['processor']}, {figures['cores']} cores; TensorFlow {figures['tensorflow']}; "
        f"batch {figures['batch_size']}, {figures['rounds']} rounds: `{figures['command']}`"
    )
    return "\n".join(lines)


def _shown(spread: Mapping[str, float] | None, digits: int) -> str:
    if spread is None:
        return ""
    low, median, high = (f"{spread[k]:.{digits}f}" for k in ("quartile_1", "median", "quartile_3"))
    return f"{median} ({low}-{high})"


def chart(figures: Mapping[str, Any], path: str) -> None:
    """Bars of images a second, with the quartiles, as a PNG file."""
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
            place = rates[i]["quartile_3"] + medians.max() / 60
            axes.text(place, i, f"{ratio['median']:.2f}x", va="center")
    axes.set(xlabel=f"images/s, batch {figures['batch_size']}, {figures['processor']}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
