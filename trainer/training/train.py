"""Training a run: from its newest checkpoint to its last step, or until it is stopped."""

from __future__ import annotations

import contextlib
import functools
import signal
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
from absl import logging

from trainer import files
from trainer.config import gin_reader
from trainer.config.settings import Plain
from trainer.distributed import multihost
from trainer.errors import DivergenceError, TrainerError, first_line
from trainer.evaluation.card import Card
from trainer.reporting import hparams, tensorboard
from trainer.reporting.images import image_grid, write_png
from trainer.runs import compatibility, lock
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.run import Run
from trainer.training import loop
from trainer.training.callbacks import (
    Evaluation,
    Profile,
    Progress,
    Samples,
    Scalars,
    grid_name,
)
from trainer.training.health import HealthChecks
from trainer.training.loop import PeriodicCallback
from trainer.training.stop_signals import StopRequest
from trainer.training.timing import Stopwatch, Throughput

_NOT_HPARAMS = ("doctor.", "evaluator.", "rules.")
"""Prefixes of settings that change no weight, which the HPARAMS tab leaves out."""


def train(run: Run, *, profile: int = 0) -> int:
    """Trains in model_dir, from the newest checkpoint there if there is one.

    Args:
      run: The run to train.
      profile: Number of steps to trace for TensorBoard's Profile tab, from the second step on.

    Returns:
      The exit code: 0, or 128 plus the number of the signal that stopped it. The state was saved.

    Raises:
      TrainerError: if model_dir holds a run of another model or dataset, or training failed.
    """
    if profile < 0:
        raise TrainerError(f"--profile={profile} must be at least 0: the number of steps to trace")
    checkpoints = run.checkpoints(doctor=run.doctor_state, doctor_events=run.doctor_events)
    with _failures_explained(run, checkpoints), contextlib.ExitStack() as stack:
        if run.is_chief:
            files.check_no_link(f"{run.model_dir}/samples")
            tf.io.gfile.makedirs(f"{run.model_dir}/samples")
            stack.enter_context(lock.held(run.model_dir))
            compatibility.check(run.model_dir, run.facts())
        _require_one_config(run.trainer.strategy, run.config_text, profile)
        if checkpoints.restore():
            logging.info("resuming %s at step %d", run.model_dir, run.step)
        missing = _missing(run)
        if run.step >= run.num_steps and not any(missing):
            print(
                f"{run.model_dir} is trained to step {run.step} already; raise train.num_epochs "
                "or train.num_steps to train on"
            )
            return 0
        writer = stack.enter_context(_event_writer(run)) if run.is_chief else None
        return _train(run, checkpoints, writer, profile, missing)


class _Missing(NamedTuple):
    """What was due at the restored step, and is not there: the trainer was killed meanwhile."""

    grid: bool
    card: bool


def _missing(run: Run) -> _Missing:
    step, every = run.step, run.schedule.sample_every
    ended = step >= run.num_steps
    grid_due = step > 0 and (ended or (every > 0 and step % every == 0))
    card_due = ended and run.schedule.evaluate_every > 0
    card = Card.load(run.model_dir) if card_due else None
    return _Missing(
        grid=grid_due and not tf.io.gfile.exists(f"{run.model_dir}/samples/{grid_name(step)}"),
        card=card_due and (card is None or card.step != step),
    )


def _make(missing: _Missing, step: int, samples: Samples, evaluation: Evaluation) -> None:
    if missing.grid:
        samples(step, {})
    if missing.card:
        evaluation.evaluate()


def _train(
    run: Run,
    checkpoints: Checkpoints,
    writer: tensorboard.EventWriter | None,
    profile: int,
    missing: _Missing,
) -> int:
    """Trains from the restored step; only the chief has a `writer`. Returns the exit code."""
    schedule = run.schedule
    inference = run.trainer.inference
    sample = functools.partial(inference.sample, inference.latents(schedule.num_samples))
    throughput = Throughput(run.trainer.batch_sampler.batch_size, run.num_steps)
    evaluation = Evaluation(run, writer)
    health = HealthChecks(run, checkpoints, writer)
    scalars = Scalars(writer, throughput)
    samples = Samples(writer, f"{run.model_dir}/samples", sample)
    progress = Progress(throughput, run.step, run.num_steps, shown=run.is_chief)
    trace = Profile(run.model_dir, run.step, profile, traced=run.is_chief)
    stopwatch = Stopwatch()
    timed = stopwatch.timed
    # In the order of their calls. The doctor reads the evaluation of the same step, and a
    # checkpoint holds the doctor's state, so that a resumed run checks as one that never stopped.
    # Scalars come before it, since nothing could make them again.
    callbacks = [
        PeriodicCallback(trace, on_steps=trace.on_steps, at_end=False),
        PeriodicCallback(throughput, every_call=True),
        PeriodicCallback(
            timed("evaluations", evaluation.on_schedule),
            every_steps=schedule.evaluate_every or None,
            at_end=False,
        ),
        PeriodicCallback(
            timed("doctor", health.check),
            every_steps=run.doctor.every if run.doctor else None,
            at_end=False,
        ),
        PeriodicCallback(timed("scalars", scalars), every_call=True),
        PeriodicCallback(
            timed("checkpoints", lambda step, metrics: checkpoints.save()),
            every_steps=schedule.checkpoint_every or None,
        ),
        PeriodicCallback(timed("samples", samples), every_steps=schedule.sample_every or None),
        PeriodicCallback(timed("progress", progress), every_call=True),
        PeriodicCallback(
            timed("evaluations", evaluation.at_end), at_end=schedule.evaluate_every > 0
        ),
    ]
    stop = StopRequest()
    with (
        contextlib.closing(progress),
        contextlib.closing(trace),
        stop.listening(),
        _last_checkpoint_named(checkpoints),
    ):
        _make(missing, run.step, samples, evaluation)
        run_steps = timed("steps", run.trainer.train)
        _run_loop(run, run_steps, callbacks, stop, health)
    logging.info("time: %s", stopwatch)
    return _finish(run, stop, health)


def _run_loop(
    run: Run,
    run_steps: Callable[[int], loop.Metrics],
    callbacks: Sequence[PeriodicCallback],
    stop: StopRequest,
    health: HealthChecks,
) -> None:
    """Trains to the last step, or until any process is asked to stop."""
    any_process = multihost.any_process(run.trainer.strategy)
    while True:
        try:
            loop.run(
                run_steps,
                step=run.step,
                last_step=run.num_steps,
                steps_per_loop=run.schedule.steps_per_loop,
                callbacks=callbacks,
                should_stop=lambda: any_process(bool(stop)),
            )
            return
        except DivergenceError as error:
            health.recover(error)


def _finish(run: Run, stop: StopRequest, health: HealthChecks) -> int:
    """Prints how training ended; returns the exit code."""
    if run.step < run.num_steps:
        number = stop.signal or signal.SIGTERM  # another process received it
        print(
            f"Stopped by {number.name} at step {run.step} of {run.num_steps}, saved in "
            f"{run.model_dir}. The same command resumes there."
        )
        return 128 + number
    if run.is_chief:
        print(
            f"Trained to step {run.step}. Samples: {run.model_dir}/samples, checkpoints: "
            f"{run.model_dir}/checkpoints, curves: tensorboard --logdir={run.model_dir}"
        )
        health.report()
    return 0


def _require_one_config(strategy: tf.distribute.Strategy, text: str, profile: int) -> None:
    """Refuses to train if the processes were started with different configs."""
    if not multihost.all_equal(strategy, zlib.crc32(f"{profile} {text}".encode())):
        resolver = strategy.cluster_resolver
        raise TrainerError(
            f"{resolver.task_type} {resolver.task_id} and the others were started with different "
            "configs; give every process the same --gin_file, --gin_param and --profile"
        )


@contextlib.contextmanager
def _last_checkpoint_named(checkpoints: Checkpoints) -> Iterator[None]:
    """Adds the last good checkpoint to the message of a TrainerError."""
    try:
        yield
    except TrainerError as error:
        raise TrainerError(f"{error}. {_last_checkpoint(checkpoints)}") from error


@contextlib.contextmanager
def _failures_explained(run: Run, checkpoints: Checkpoints) -> Iterator[None]:
    """Turns a lost process or a failing disk into a TrainerError that says what was saved."""
    try:
        with multihost.explain_lost_peer(
            run.trainer.strategy, lambda: f". {_last_checkpoint(checkpoints)}"
        ):
            yield
    except (OSError, tf.errors.OpError) as error:
        raise TrainerError(
            f"{run.model_dir} cannot be written or read ({first_line(error)}); free space "
            "or permit writing there, then start the same command again. "
            f"{_last_checkpoint(checkpoints)}"
        ) from error


def _last_checkpoint(checkpoints: Checkpoints) -> str:
    try:
        latest = checkpoints.latest or "none was saved yet"
    except tf.errors.OpError:
        latest = "not known"
    return f"Last good checkpoint: {latest}"


@contextlib.contextmanager
def _event_writer(run: Run) -> Iterator[tensorboard.EventWriter]:
    """The chief's writer, once the config, the settings and a grid of real images are written."""
    gin_reader.save(run.model_dir, run.config_text)
    hparams.write(run.model_dir, _hparams(run))
    with contextlib.closing(tensorboard.EventWriter(run.model_dir)) as writer:
        writer.text(run.step, "config", "```\n" + run.config_text + "\n```")
        if not tf.io.gfile.exists(real_path := f"{run.model_dir}/samples/real.png"):
            real = image_grid(run.real_images)
            writer.image(run.step, "real", real)
            write_png(real_path, real)
        yield writer


def _hparams(run: Run) -> dict[str, Plain]:
    """The settings that the weights depend on."""
    return {k: v for k, v in run.settings.items() if not k.startswith(_NOT_HPARAMS)}
