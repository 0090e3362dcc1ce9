"""The evaluation card as an HTML page."""

from __future__ import annotations

from collections.abc import Mapping

import jinja2
import markupsafe
import numpy as np

from trainer.evaluation.card import TITLES, Card, Metric, interval, number
from trainer.reporting import charts
from trainer.reporting.images import image_grid


def environment(package: str, directory: str = "") -> jinja2.Environment:
    """The Jinja2 templates in a directory of a package; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, directory),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


TEMPLATES = environment("trainer.reporting", "templates")

_MAX_BARS = 50  # pairs of bars that fit into a chart

# The training curves of a page: title of the y axis -> TensorBoard tags.
TRAINING_CURVES = {
    "loss": ("loss/discriminator", "loss/generator"),
    "accuracy of the discriminator": ("accuracy/real", "accuracy/fake"),
    "FID": ("evaluation/fid",),
}


def render(
    card: Card,
    model_dir: str,
    samples: np.ndarray,
    closest: np.ndarray,
    scalars: Mapping[str, charts.Curve],
) -> str:
    """The page as HTML.

    Args:
      card: The card to show.
      model_dir: The run's directory, which the page names.
      samples: uint8 [N, H, W, C], shown as a grid.
      closest: uint8 [2 * P, H, W, C]: P samples, then the training image nearest to each of them.
      scalars: Tag -> curve over steps. A chart of TRAINING_CURVES is drawn if one of its curves has
        at least two points.
    """
    pairs = np.concatenate([np.concatenate(list(half), axis=1) for half in np.split(closest, 2)])
    grid = image_grid(samples)
    confidence = {"samples": card.confidence_counts, "test": card.confidence_counts_real}
    bins = [f"{i / 20:g}" for i in range(20)]
    return TEMPLATES.get_template("card.html").render(
        style=style(),
        card=card,
        model_dir=model_dir,
        samples=charts.picture(grid),
        sample_width=2 * grid.shape[1],
        closest=charts.picture(pairs),
        closest_width=3 * pairs.shape[1],
        metrics=rows(card),
        classes=markupsafe.Markup(_classes(card)),
        confidence=markupsafe.Markup(charts.bars(confidence, bins, "confidence, from")),
        curves=_training(scalars),
    )


def rows(card: Card) -> list[dict[str, str]]:
    """The text of the metrics table, a dictionary for each row."""
    return [_row(name, card.metrics[name]) for name in TITLES]


def style() -> markupsafe.Markup:
    """The style sheet that all pages share."""
    return markupsafe.Markup(source(TEMPLATES, "style.css"))


def source(templates: jinja2.Environment, name: str) -> str:
    """The text of a template or asset, not rendered."""
    assert templates.loader
    return templates.loader.get_source(templates, name)[0]


def _row(name: str, metric: Metric) -> dict[str, str]:
    title, reading = TITLES[name]
    return {
        "name": title,
        "title": f"{title} {reading}",
        "value": number(metric.value),
        "interval": interval(metric.low, metric.high),
        "real": number(metric.real),
    }


def _classes(card: Card) -> str:
    counts = {"samples": card.class_counts, "test": card.class_counts_real}
    if len(card.class_counts) > _MAX_BARS:
        return charts.ranked(counts, "class, each series' most frequent first")
    return charts.bars(counts, [str(i) for i in range(len(card.class_counts))], "class")


def _training(scalars: Mapping[str, charts.Curve]) -> list[markupsafe.Markup]:
    drawn = []
    for title, tags in TRAINING_CURVES.items():
        lines = {tag: [scalars[tag]] for tag in tags if tag in scalars}
        if any(len(x) > 1 for ((x, _),) in lines.values()):
            drawn.append(markupsafe.Markup(charts.curves(lines, "step", title)))
    return drawn
