"""A comparison of configs as a page."""

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
from trainer.tools.compare import compare
from trainer.tools.compare.compare import Result

_TEMPLATES = environment("trainer.tools.compare")


def render(results: Sequence[Result], seeds: Sequence[int], output: str, command: str) -> str:
    """The page: a verdict, the table, samples side by side from the same latents, and curves.

    Of more than `comparison.FEW` configs, the table says what the verdicts would, and the curves,
    which could not be told apart, are left out.

    Args:
      results: The baseline's first.
      seeds: Of each result's cards.
      output: Directory of the comparison.
      command: What made it, to show.
    """
    baseline, *rivals = results
    few = len(results) <= compare.FEW
    names = [result.variant.name for result in results]
    return _TEMPLATES.get_template("comparison.html").render(
        style=style(),
        command=command,
        card=baseline.cards[0],
        seeds=seeds,
        title=" or ".join(names) + "?" if few else "Which is better?",
        verdicts=[compare.verdict(baseline, rival) for rival in rivals] if few else [],
        table=compare.table(results),
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
    """The grid that training left at the step of the card: its data: URI and caption."""
    card = result.cards[index]
    directory = compare.model_dir(output, result.variant, seed)
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
            read_scalars(compare.model_dir(output, result.variant, seed)) for seed in seeds
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
