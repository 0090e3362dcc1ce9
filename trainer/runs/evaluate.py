"""Evaluating a run: its card, as JSON, scalars and a page."""

from __future__ import annotations

import contextlib

import numpy as np

from trainer import files
from trainer.data.batches import denormalise
from trainer.evaluation import card
from trainer.evaluation.card import Card
from trainer.evaluation.evaluator import Evaluation
from trainer.reporting import card_page, tensorboard
from trainer.runs.run import Run

PAGE_NAME = "evaluation.html"


def evaluate(run: Run) -> Card:
    """Measures the current weights, and writes the card as JSON, scalars and a page."""
    evaluation, samples = look(run)
    if run.is_chief:
        with contextlib.closing(tensorboard.EventWriter(run.model_dir)) as writer:
            keep(run, writer, evaluation, samples)
        print(evaluation.card.table())
        print(f"Card: {run.model_dir}/{card.FILE_NAME}, page: {run.model_dir}/{PAGE_NAME}")
    return evaluation.card


def look(run: Run) -> tuple[Evaluation, np.ndarray]:
    """An evaluation of the current step, and uint8 samples beside it; every process takes part."""
    evaluation = run.evaluator(
        run.trainer.inference.generate,
        step=run.step,
        images_seen=run.step * run.trainer.batch_sampler.batch_size,
        weights=run.trainer.sampled_weights,
    )
    samples = run.trainer.inference.sample(run.trainer.inference.latents(run.schedule.num_samples))
    return evaluation, denormalise(samples)


def keep(
    run: Run, writer: tensorboard.EventWriter, evaluation: Evaluation, samples: np.ndarray
) -> None:
    """Writes an evaluation as scalars and text, as the run's card and as a page: the chief's."""
    result = evaluation.card
    scalars = {f"evaluation/{name}": metric.value for name, metric in result.metrics.items()}
    writer.scalars(result.step, scalars)
    writer.text(result.step, "evaluation/card", f"```\n{result.table()}\n```")
    writer.flush()
    files.write_file(f"{run.model_dir}/{card.FILE_NAME}", result.to_json())
    curves = tensorboard.read_scalars(run.model_dir)
    page = card_page.render(result, run.model_dir, samples, evaluation.closest, curves)
    files.write_file(f"{run.model_dir}/{PAGE_NAME}", page)
