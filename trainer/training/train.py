"""Training a run: from where it was left to its last step, whatever happens on the way."""

from __future__ import annotations

import contextlib
import functools
import signal
import zlib
from collections.abc import Iterator, Mapping

import tensorflow as tf
from absl import logging

from trainer import config
from trainer.distributed import multihost
from trainer.errors import DivergenceError, TrainerError, first_line
from trainer.evaluation.card import Card
from trainer.reporting import hparams, tensorboard
from trainer.reporting.images import image_grid, write_png
from trainer.runs import compatibility, lock
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.evaluate import compute_evaluation, write_evaluation
from trainer.runs.run import Run
from trainer.settings import Plain
from trainer.training import callbacks, loop
from trainer.training.rollback import Care, Relapse

_NOT_HPARAMS = ("doctor.", "evaluator.", "rules.")
"""Prefixes of settings that change no weight, which the HPARAMS tab leaves out."""


def train(run: Run, *, profile: int = 0) -> int:
    """--mode=train: trains, or resumes, in model_dir.

    Args:
      run: To train.
      profile: How many steps to trace, after the first.

    Returns:
      0, or 128 + the signal's number where a signal asked it to stop (saved first).

    Raises:
      TrainerError: if the run in model_dir is of another model or dataset, or training failed.
    """
    if profile < 0:
        raise TrainerError(f"--profile={profile} must be at least 0: the number of steps to trace")
    checkpoints = run.checkpoints(doctor=run.doctor_state)
    with _failures_explained(run, checkpoints), contextlib.ExitStack() as stack:
        if run.is_chief:
            tf.io.gfile.makedirs(f"{run.model_dir}/samples")
            stack.enter_context(lock.held(run.model_dir))
            compatibility.check(run.model_dir, run.facts())
        _require_one_config(run.trainer.strategy, run.config_text, profile)
        if checkpoints.restore():
            logging.info("resuming %s at step %d", run.model_dir, run.step)
        if run.step >= run.num_steps:
            print(
                f"{run.model_dir} is trained to step {run.step} already; raise train.num_epochs "
                "or train.num_steps to go on"
            )
            return 0
        return _train(run, checkpoints, stack, profile)


def _train(run: Run, checkpoints: Checkpoints, stack: contextlib.ExitStack, profile: int) -> int:
    """From the step restored to the last, or to a signal; returns the exit code."""
    stop = callbacks.StopRequest()
    anyone_stops = multihost.any_process(run.trainer.strategy)
    writer = _start_writing(run, stack) if run.is_chief else None
    care = Care(run, checkpoints, writer)
    watch = callbacks.Stopwatch()
    every = _actions(run, checkpoints, care, watch, writer, stack)
    if profile:
        trace = callbacks.Profile(run.model_dir, run.step, profile)
        stack.callback(trace.close)
        # Calls are cut alike on all processes; the chief's alone are traced.
        action = trace if run.is_chief else lambda step, metrics: None
        every.insert(0, loop.Every(action, 0, at=trace.due))
    with stop.listening(), _last_checkpoint_named(checkpoints):
        reached = None
        while reached is None:
            try:
                reached = loop.run(
                    watch.timed("steps", run.trainer.train),
                    step=run.step,
                    last_step=run.num_steps,
                    steps_per_loop=run.schedule.steps_per_loop,
                    actions=every,
                    should_stop=lambda: anyone_stops(stop()),
                )
            except (Relapse, DivergenceError) as failure:
                care.roll_back(failure)
    logging.info("time: %s", watch)
    if run.step < run.num_steps:
        number = stop.signal or signal.SIGTERM  # of another process, which told this one
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
        care.report()
    return 0


def _actions(
    run: Run,
    checkpoints: Checkpoints,
    care: Care,
    watch: callbacks.Stopwatch,
    writer: tensorboard.EventWriter | None,
    stack: contextlib.ExitStack,
) -> list[loop.Every]:
    """What happens between calls. Some of it takes all processes, and some the chief's `writer`.

    A checkpoint holds what the doctor knows of its step, and the doctor knows the evaluation that
    is due there: it comes last of the three. What is not due comes after it where a run ends.
    """
    pace = callbacks.Pace(run.trainer.batch_sampler.batch_size, run.num_steps)
    sample = functools.partial(
        run.trainer.inference.sample, run.trainer.inference.latents(run.schedule.num_samples)
    )
    on_time, at_the_end = _evaluations(run, watch, writer)
    every = [loop.Every(pace), *on_time]
    if run.doctor:
        every.append(loop.Every(watch.timed("doctor", care.examine), run.doctor.every))
    save = watch.timed("checkpoints", lambda *_: checkpoints.save())
    every.append(loop.Every(save, run.schedule.checkpoint_every))
    if writer:
        samples = callbacks.Samples(writer, f"{run.model_dir}/samples", sample)
        progress = callbacks.Progress(pace, run.step, run.num_steps)
        stack.callback(progress.close)
        every += [
            loop.Every(watch.timed("scalars", callbacks.Scalars(writer, pace))),
            loop.Every(watch.timed("samples", samples), run.schedule.sample_every),
            loop.Every(watch.timed("progress", progress)),
        ]
    else:
        every.append(loop.Every(lambda step, metrics: sample(), run.schedule.sample_every))
    return [*every, *at_the_end]


def _evaluations(
    run: Run, watch: callbacks.Stopwatch, writer: tensorboard.EventWriter | None
) -> tuple[list[loop.Every], list[loop.Every]]:
    """Those of the run's schedule, which the doctor gets to know, and one of where it ends."""

    def evaluate() -> Card:
        evaluation, samples = compute_evaluation(run)
        if writer:
            write_evaluation(run, writer, evaluation, samples)
        return evaluation.card

    def on_time(step: int, metrics: Mapping[str, float]) -> None:
        if step % run.schedule.evaluate_every == 0:
            card = evaluate()
            run.doctor_state.class_counts = (card.class_counts, card.class_counts_real)

    def at_the_end(step: int, metrics: Mapping[str, float]) -> None:
        if step % run.schedule.evaluate_every:
            evaluate()

    if not run.schedule.evaluate_every:
        return [], []
    timed = functools.partial(watch.timed, "evaluations")
    return (
        [loop.Every(timed(on_time), run.schedule.evaluate_every)],
        [loop.Every(timed(at_the_end), 0)],
    )


def _require_one_config(distribution: tf.distribute.Strategy, text: str, profile: int) -> None:
    """Refuses to train where the processes were started with different configs."""
    if not multihost.all_equal(distribution, zlib.crc32(f"{profile} {text}".encode())):
        resolver = distribution.cluster_resolver
        raise TrainerError(
            f"{resolver.task_type} {resolver.task_id} and the others were started with different "
            "configs; give every process the same --gin_file, --gin_param and --profile"
        )


@contextlib.contextmanager
def _last_checkpoint_named(checkpoints: Checkpoints) -> Iterator[None]:
    try:
        yield
    except TrainerError as error:
        raise TrainerError(f"{error}. {_kept(checkpoints)}") from error


@contextlib.contextmanager
def _failures_explained(run: Run, checkpoints: Checkpoints) -> Iterator[None]:
    """Turns what the machines do to a run into one line that says what was saved."""
    try:
        with multihost.explain_lost_peer(run.trainer.strategy, lambda: f". {_kept(checkpoints)}"):
            yield
    except (OSError, tf.errors.OpError) as error:
        raise TrainerError(
            f"{run.model_dir} cannot be written or read ({first_line(error)}); free space "
            f"or permit writing there, then start the same command again. {_kept(checkpoints)}"
        ) from error


def _kept(checkpoints: Checkpoints) -> str:
    try:
        latest = checkpoints.latest or "none was saved yet"
    except tf.errors.OpError:
        latest = "not known"
    return f"Last good checkpoint: {latest}"


def _shown_settings(run: Run) -> dict[str, Plain]:
    return {k: v for k, v in run.settings.items() if not k.startswith(_NOT_HPARAMS)}


def _start_writing(run: Run, stack: contextlib.ExitStack) -> tensorboard.EventWriter:
    """What the chief alone writes at the start: the config, and real images in a new run."""
    config.save(run.model_dir, run.config_text)
    hparams.write(run.model_dir, _shown_settings(run))
    writer = tensorboard.EventWriter(run.model_dir)
    stack.callback(writer.close)
    writer.text(run.step, "config", "```\n" + run.config_text + "\n```")
    if not tf.io.gfile.exists(real_path := f"{run.model_dir}/samples/real.png"):
        real = image_grid(run.real_images)
        writer.image(run.step, "real", real)
        write_png(real_path, real)
    return writer
