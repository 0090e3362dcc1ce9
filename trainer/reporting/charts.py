"""Charts and images as text for an HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.reporting.images import as_image

if TYPE_CHECKING:  # it takes half a second to import, and few commands draw a chart
    from matplotlib.figure import Figure

Curve = tuple[Sequence[float], Sequence[float]]
"""x values and y values."""


def picture(pixels: np.ndarray) -> str:
    """uint8 [H, W, 1 or 3] -> a PNG as data: URI."""
    file = io.BytesIO()
    as_image(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def bars(counts: Mapping[str, Sequence[float]], labels: Sequence[str], x_title: str) -> str:
    """A bar chart of the share of each label, with a colour for each series, as SVG.

    Args:
      counts: Series -> the count of each label.
      labels: Names of the bars.
      x_title: Title of the x axis.
    """
    figure, axes = _figure(x_title, "share")
    width = 0.8 / len(counts)
    for i, (name, values) in enumerate(counts.items()):
        shares = np.asarray(values) / max(sum(values), 1)
        places = np.arange(len(shares)) + (i - (len(counts) - 1) / 2) * width
        axes.bar(places, shares, width, label=name)
    step = max(1, len(labels) // 10)
    axes.set_xticks(range(0, len(labels), step), labels[::step])
    axes.legend(frameon=False)
    return _svg(figure)


def ranked(counts: Mapping[str, Sequence[float]], x_title: str) -> str:
    """Like `bars`, for too many labels: each series' shares in descending order, as SVG."""
    figure, axes = _figure(x_title, "share")
    for name, values in counts.items():
        shares = np.sort(values)[::-1] / max(sum(values), 1)
        axes.stairs(shares, label=name)
    axes.legend(frameon=False)
    return _svg(figure)


def curves(lines: Mapping[str, Sequence[Curve]], x_title: str, y_title: str) -> str:
    """A line chart as SVG; the curves of one name share a colour and a legend entry."""
    figure, axes = _figure(x_title, y_title)
    for i, (name, group) in enumerate(lines.items()):
        for j, (x, y) in enumerate(group):
            axes.plot(x, y, color=f"C{i}", linewidth=1, label=name if j == 0 else None)
    axes.legend(frameon=False)
    return _svg(figure)


def _figure(x_title: str, y_title: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x_title, ylabel=y_title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]
