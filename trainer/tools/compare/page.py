"""A comparison as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence

import markupsafe
import numpy as np
import tensorflow as tf
from PIL import Image

from trainer.evaluation.card import number
from trainer.reporting import charts
from trainer.reporting.card_page import TRAINING_CURVES, environment, style
from trainer.reporting.tensorboard import read_scalars
from trainer.tools.compare import results as tables
from trainer.tools.compare.results import Result
from trainer.tools.compare.variants import model_dir

_TEMPLATES = environment("trainer.tools.compare")


def render(results: Sequence[Result], seeds: Sequence[int], output: str, command: str) -> str:
    """The page: conclusions, the table, samples from the same latents side by side, and curves.

    With more than MAX_COLUMNS configs, the table says what the conclusions would, and the curves
    are left out, since their lines could not be told apart.

    Args:
      results: The baseline's first.
      seeds: The seeds of each result's cards, in their order.
      output: Directory of the comparison.
      command: The command that made it, to show.
    """
    baseline, *others = results
    few = len(results) <= tables.MAX_COLUMNS
    names = [result.variant.name for result in results]
    return _TEMPLATES.get_template("comparison.html").render(
        style=style(),
        command=command,
        card=baseline.cards[0],
        seeds=seeds,
        title=" or ".join(names) + "?" if few else "Which is better?",
        conclusions=[tables.conclusion(baseline, other) for other in others] if few else [],
        table=tables.table(results),
        grids=[
            (seed, [_samples(output, result, i, seed) for result in results])
            for i, seed in enumerate(seeds)
        ],
        curves=_curves(results, seeds, output) if few else [],
        cards=[
            (result.variant.name, seed, f"{result.variant.name}/seed_{seed}/evaluation.html")
            for result in results
            for seed in seeds
        ],
    )


def _samples(output: str, result: Result, index: int, seed: int) -> tuple[str, str]:
    """The sample grid of the step that was evaluated: its data: URI and caption."""
    card = result.cards[index]
    directory = model_dir(output, result.variant, seed)
    with tf.io.gfile.GFile(f"{directory}/samples/step_{card.step:07d}.png", "rb") as file:
        pixels = np.asarray(Image.open(file))
    pixels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    caption = f"{result.variant.name}, step {card.step:,}: FID {number(card.metrics['fid'].value)}"
    return charts.picture(pixels), caption


def _curves(
    results: Sequence[Result], seeds: Sequence[int], output: str
) -> list[markupsafe.Markup]:
    scalars = {
        result.variant.name: [
            read_scalars(model_dir(output, result.variant, seed)) for seed in seeds
        ]
        for result in results
    }
    drawn = []
    for tag in (tag for tags in TRAINING_CURVES.values() for tag in tags):
        lines = {
            name: [run[tag] for run in runs if len(run.get(tag, ((), ()))[0]) > 1]
            for name, runs in scalars.items()
        }
        if all(lines.values()):
            drawn.append(markupsafe.Markup(charts.curves(lines, "step", tag)))
    return drawn
