"""What can be done with a run besides training it: evaluate, generate, or say what it would be."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from trainer import card, storage, summaries
from trainer.data.pipeline import denormalise
from trainer.errors import TrainerError
from trainer.evaluation import Evaluation
from trainer.latents import slerp
from trainer.pages import card as card_page
from trainer.run import Run

PAGE_NAME = "evaluation.html"


def print_plan(run: Run) -> int:
    """--dry_run: says what would be trained, where and for how long."""
    trainer = run.trainer
    devices = trainer.strategy.extended.worker_devices
    replicas = trainer.strategy.num_replicas_in_sync
    rows = {
        "strategy": f"{type(trainer.strategy).__name__} on {', '.join(devices)}",
        "replicas": f"{replicas}, {trainer.replica_batch_size} examples each",
        "data": f"{run.spec.name}, {trainer.order.num_examples} images of {run.spec.image_shape}",
        "generator": f"{trainer.generator.count_params():,} parameters",
        "discriminator": f"{trainer.discriminator.count_params():,} parameters",
        "steps": f"{run.num_steps:,} of {trainer.batch_size} images "
        f"({run.num_steps / trainer.order.steps_per_epoch:.4g} epochs), "
        f"{run.steps_per_loop} a call",
        "model_dir": run.model_dir,
    }
    for name, value in rows.items():
        print(f"{name:14} {value}")
    return 0


def generate(run: Run, *, output: str, interpolate: bool = False) -> int:
    """--mode=generate: a grid of samples of the newest checkpoint, as a PNG file.

    Args:
      run: With a checkpoint.
      output: The file.
      interpolate: Whether each row of the grid goes from one latent to another.
    """
    _restore(run)
    latents = run.trainer.latents(run.num_samples).numpy()
    if interpolate:
        latents = _rows_between(latents)
    images = run.trainer.sample(latents)
    summaries.write_png(output, summaries.image_grid(denormalise(images)))
    print(f"{len(images)} samples of step {run.step}: {output}")
    return 0


def _rows_between(latents: np.ndarray) -> np.ndarray:
    """[N, Z] -> rows of the square grid with at most N places, each from one latent to another."""
    side = math.isqrt(len(latents))
    first, last = (np.repeat(ends, side, axis=0) for ends in np.split(latents[: 2 * side], 2))
    return slerp(first, last, np.tile(np.linspace(0, 1, side), side)).astype(latents.dtype)


def _restore(run: Run) -> None:
    if not run.checkpoints().restore():
        raise TrainerError(
            f"--model_dir={run.model_dir} holds no checkpoint; train first, or name another run"
        )


def evaluate(run: Run) -> int:
    """--mode=evaluate: the card of the newest checkpoint, as JSON, scalars and a page."""
    _restore(run)
    evaluation, samples = look(run)
    if run.chief:
        with contextlib.closing(summaries.EventWriter(run.model_dir)) as writer:
            keep(run, writer, evaluation, samples)
        print(evaluation.card.table())
        print(f"Card: {run.model_dir}/{card.FILE_NAME}, page: {run.model_dir}/{PAGE_NAME}")
    return 0


def look(run: Run) -> tuple[Evaluation, np.ndarray]:
    """An evaluation of the current step, and uint8 samples beside it; every process takes part."""
    evaluation = run.evaluator(
        run.trainer.fakes,
        step=run.step,
        images_seen=run.step * run.trainer.order.batch_size,
        weights=run.trainer.sampler_weights,
    )
    samples = run.trainer.sample(run.trainer.latents(run.num_samples))
    return evaluation, denormalise(samples)


def keep(
    run: Run, writer: summaries.EventWriter, evaluation: Evaluation, samples: np.ndarray
) -> None:
    """Writes an evaluation as scalars and text, as the run's card and as a page: the chief's."""
    result = evaluation.card
    scalars = {f"evaluation/{name}": metric.value for name, metric in result.metrics.items()}
    writer.scalars(result.step, scalars)
    writer.text(result.step, "evaluation/card", f"```\n{result.table()}\n```")
    writer.flush()
    storage.write_file(f"{run.model_dir}/{card.FILE_NAME}", result.to_json())
    curves = summaries.read_scalars(run.model_dir)
    page = card_page.render(result, run.model_dir, samples, evaluation.closest, curves)
    storage.write_file(f"{run.model_dir}/{PAGE_NAME}", page)
