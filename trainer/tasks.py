"""What can be done with a run besides training it: evaluate it, or say what it would be."""

from __future__ import annotations

import contextlib

import numpy as np

from trainer import card, storage, summaries
from trainer.data.pipeline import denormalise
from trainer.evaluation import Evaluation
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
        "precision": trainer.generator.dtype_policy.name,
        "kernels": ", ".join(trainer.kernels) or "none",
        "steps": f"{run.num_steps:,} of {trainer.batch_size} images "
        f"({run.num_steps / trainer.order.steps_per_epoch:.4g} epochs), "
        f"{run.steps_per_loop} a call",
        "model_dir": run.model_dir,
    }
    for name, value in rows.items():
        print(f"{name:14} {value}")
    return 0


def evaluate(run: Run) -> int:
    """--mode=evaluate: the card of the newest checkpoint, as JSON, scalars and a page."""
    run.restore()
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
