"""Evaluating a run: its card as JSON, scalars and an HTML page."""

from __future__ import annotations

import contextlib

import numpy as np

from trainer import files
from trainer.data.batches import denormalise
from trainer.evaluation import card
from trainer.evaluation.card import Card
from trainer.evaluation.evaluator import Evaluation
from trainer.reporting import card_page, tensorboard
from trainer.runs import lock
from trainer.runs.run import Run

PAGE_NAME = "evaluation.html"
_LOCK = "evaluation.lock"


def evaluate(run: Run) -> Card:
    """Evaluates the current weights, and writes the card to model_dir as JSON, scalars and a page.

    Every process of a run must call it; the chief writes, and prints the card.
    """
    evaluation, samples = compute_evaluation(run)
    if run.is_chief:
        with contextlib.closing(tensorboard.EventWriter(run.model_dir)) as writer:
            write_evaluation(run, writer, evaluation, samples)
        print(evaluation.card.table())
        print(f"Card: {run.model_dir}/{card.FILE_NAME}, page: {run.model_dir}/{PAGE_NAME}")
    return evaluation.card


def compute_evaluation(run: Run) -> tuple[Evaluation, np.ndarray]:
    """The evaluation of the current weights, and samples uint8 [num_samples, H, W, C] to show.

    Every process of a run must call it. Writes nothing.
    """
    evaluation = run.evaluator(
        run.trainer.inference.generate,
        step=run.step,
        images_seen=run.step * run.trainer.batch_sampler.batch_size,
        weights=run.trainer.sampled_weights,
    )
    samples = run.trainer.inference.sample(run.trainer.inference.latents(run.schedule.num_samples))
    return evaluation, denormalise(samples)


def write_evaluation(
    run: Run, writer: tensorboard.EventWriter, evaluation: Evaluation, samples: np.ndarray
) -> None:
    """Writes an evaluation to model_dir: scalars and text, the card and its page.

    Only the chief may call it. One of two processes waits, so that card and page belong together.
    """
    result = evaluation.card
    with lock.held(run.model_dir, name=_LOCK, wait=True):
        scalars = {f"evaluation/{name}": metric.value for name, metric in result.metrics.items()}
        writer.scalars(result.step, scalars)
        writer.text(result.step, "evaluation/card", f"```\n{result.table()}\n```")
        writer.flush()
        files.write_file(f"{run.model_dir}/{card.FILE_NAME}", result.to_json())
        curves = tensorboard.read_scalars(run.model_dir)
        page = card_page.render(result, run.model_dir, samples, evaluation.closest, curves)
        files.write_file(f"{run.model_dir}/{PAGE_NAME}", page)
