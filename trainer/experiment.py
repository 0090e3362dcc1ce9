"""The only place that wires parts together: the gin file's names become a Run for a task."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from trainer import actions, config, identity, loop, losses, optimizers, summaries
from trainer import strategy as strategies
from trainer.checkpoints import Checkpoints
from trainer.data.dataset import Dataset, DatasetSpec
from trainer.data.pipeline import denormalise
from trainer.errors import TrainerError
from trainer.gan import GanTrainer


@dataclass(frozen=True)
class Run:
    """The parts of one run, built and wired, and its schedule in steps."""

    trainer: GanTrainer
    spec: DatasetSpec
    real_images: np.ndarray
    """uint8 [up to num_samples, H, W, C], to look at."""
    model_dir: str
    num_steps: int
    steps_per_loop: int
    checkpoint_every: int
    sample_every: int
    num_samples: int
    keep_checkpoints: int

    @property
    def chief(self) -> bool:
        return strategies.is_chief(self.trainer.strategy)

    def checkpoints(self) -> Checkpoints:
        return Checkpoints(
            self.trainer.checkpoint_items,
            self.model_dir,
            keep=self.keep_checkpoints,
            chief=self.chief,
        )

    def identity(self) -> identity.Identity:
        return identity.describe(
            self.spec,
            self.trainer.order.num_examples,
            self.trainer.latent_dim,
            self.trainer.generator,
            self.trainer.discriminator,
        )


Task = Callable[[Run], int]


def train(
    *,
    dataset: Callable[..., Dataset],
    generator: Callable[..., keras.Model],
    discriminator: Callable[..., keras.Model],
    strategy: Callable[[], tf.distribute.Strategy] = strategies.auto,
    loss: Callable[[], losses.GanLoss] = losses.binary_cross_entropy,
    generator_optimizer: Callable[[], keras.optimizers.Optimizer] = optimizers.adam,
    discriminator_optimizer: Callable[[], keras.optimizers.Optimizer] = optimizers.adam,
    batch_size: int = 128,
    latent_dim: int = 50,
    num_epochs: int = 30,
    num_steps: int | None = None,
    seed: int = 0,
    steps_per_loop: int = 50,
    checkpoint_every: int = 1000,
    keep_checkpoints: int = 3,
    sample_every: int = 500,
    num_samples: int = 64,
    model_dir: str,
    data_dir: str | None = None,
    task: Task,
) -> int:
    """The whole gin surface: builds a run from what the config names and hands it to `task`.

    Args:
      dataset: (data_dir) -> Dataset.
      generator: Constructor, (latent_dim, image_shape) -> model.
      discriminator: Constructor, (image_shape) -> model.
      strategy: Makes the tf.distribute strategy; see `hardware/*.gin`.
      loss: Makes both players' losses.
      generator_optimizer: Constructor of a Keras optimizer.
      discriminator_optimizer: Constructor of a Keras optimizer.
      batch_size: Global batch size, shared evenly by all replicas.
      latent_dim: Size of a latent vector.
      num_epochs: Passes over the dataset, in whole batches.
      num_steps: Steps to train; wins over num_epochs.
      seed: 0 <= seed < 2**32; fixes every random number of the run.
      steps_per_loop: Most steps in one call on the devices; the loop reports after each call.
      checkpoint_every: Steps between checkpoints; 0 for one at the end only.
      keep_checkpoints: How many checkpoints to keep.
      sample_every: Steps between sample grids; 0 for one at the end only.
      num_samples: Images in a sample grid.
      model_dir: Where the run is, or will be; not a gin setting.
      data_dir: Where prepared datasets are; not a gin setting.
      task: What to do with the run; not a gin setting.

    Returns:
      The exit code of the task.

    Raises:
      TrainerError: if a setting breaks a rule.
    """
    _require_at_least(1, batch_size=batch_size, latent_dim=latent_dim, num_epochs=num_epochs)
    _require_at_least(1, steps_per_loop=steps_per_loop, num_samples=num_samples)
    _require_at_least(1, keep_checkpoints=keep_checkpoints)
    _require_at_least(0, checkpoint_every=checkpoint_every, sample_every=sample_every)
    if num_steps is not None:
        _require_at_least(1, num_steps=num_steps)
    distribution = strategy()  # before anything else touches the devices
    # Grappler's remapper gives up on convolutions followed by LeakyReLU, in an alarming line.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    source = dataset(data_dir=data_dir)
    images = source.load("train").images
    trainer = GanTrainer(
        strategy=distribution,
        images=images,
        generator=generator,
        discriminator=discriminator,
        loss=loss(),
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        latent_dim=latent_dim,
        batch_size=batch_size,
        seed=seed,
    )
    return task(
        Run(
            trainer=trainer,
            spec=source.spec,
            real_images=images[:num_samples],
            model_dir=model_dir,
            num_steps=num_steps or num_epochs * trainer.order.steps_per_epoch,
            steps_per_loop=steps_per_loop,
            checkpoint_every=checkpoint_every,
            sample_every=sample_every,
            num_samples=num_samples,
            keep_checkpoints=keep_checkpoints,
        )
    )


def _require_at_least(minimum: int, **settings: int) -> None:
    for name, value in settings.items():
        if not isinstance(value, int) or value < minimum:
            raise TrainerError(f"train.{name}={value!r} must be an integer of at least {minimum}")


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


def generate(run: Run, *, output: str) -> int:
    """--mode=generate: a grid of samples of the newest checkpoint, as a PNG file."""
    if not run.checkpoints().restore():
        raise TrainerError(
            f"--model_dir={run.model_dir} holds no checkpoint; train first, or name another run"
        )
    images = run.trainer.sample(run.trainer.latents(run.num_samples))
    summaries.write_png(output, summaries.image_grid(denormalise(images)))
    print(f"{run.num_samples} samples of step {int(run.trainer.step.numpy())}: {output}")
    return 0


def run_training(run: Run) -> int:
    """--mode=train: trains, or resumes, in model_dir.

    Returns:
      0, or 128 + the signal's number where a signal asked it to stop (saved first).

    Raises:
      TrainerError: if the run in model_dir is of another model or dataset, or training failed.
    """
    if run.chief:
        tf.io.gfile.makedirs(f"{run.model_dir}/samples")
        identity.check(run.model_dir, run.identity())
    checkpoints = run.checkpoints()
    resumed = checkpoints.restore()
    step = int(run.trainer.step.numpy())
    if resumed:
        logging.info("resuming %s at step %d", run.model_dir, step)
    if step >= run.num_steps:
        print(
            f"{run.model_dir} is trained to step {step} already; raise train.num_epochs or "
            "train.num_steps to go on"
        )
        return 0
    stop = actions.StopRequest()
    pace = actions.Pace(run.trainer.batch_size, run.num_steps)
    latents = run.trainer.latents(run.num_samples)
    sample = functools.partial(run.trainer.sample, latents)
    every = [
        loop.Every(pace),
        loop.Every(lambda step, metrics: checkpoints.save(), run.checkpoint_every),
    ]
    with contextlib.ExitStack() as stack:
        if run.chief:
            every += _watch(run, pace, step, sample, stack)
        else:
            every += [loop.Every(lambda step, metrics: sample(), run.sample_every)]
        stack.enter_context(stop.listening())
        try:
            step = loop.run(
                run.trainer.train,
                step=step,
                last_step=run.num_steps,
                steps_per_loop=run.steps_per_loop,
                actions=every,
                should_stop=stop,
            )
        except TrainerError as error:
            kept = checkpoints.latest or "none was saved yet"
            raise TrainerError(f"{error}. Last good checkpoint: {kept}") from error
    return _conclude(run, step, stop)


def _watch(
    run: Run,
    pace: actions.Pace,
    step: int,
    sample: Callable[[], np.ndarray],
    stack: contextlib.ExitStack,
) -> list[loop.Every]:
    """What the chief alone writes: config and real images now, scalars and samples as it goes."""
    config.save(run.model_dir)
    writer = summaries.EventWriter(run.model_dir)
    stack.callback(writer.close)
    writer.text(step, "config", "```\n" + config.text() + "\n```")
    if not tf.io.gfile.exists(real_path := f"{run.model_dir}/samples/real.png"):
        real = summaries.image_grid(run.real_images)
        writer.image(step, "real", real)
        summaries.write_png(real_path, real)
    samples = actions.Samples(writer, f"{run.model_dir}/samples", sample)
    progress = actions.Progress(pace, step, run.num_steps)
    stack.callback(progress.close)
    return [
        loop.Every(actions.Scalars(writer, pace)),
        loop.Every(samples, run.sample_every),
        loop.Every(progress),
    ]


def _conclude(run: Run, step: int, stop: actions.StopRequest) -> int:
    if not run.chief:
        return 0 if stop.signal is None else 128 + stop.signal
    if stop.signal is not None:
        print(
            f"Stopped by {stop.signal.name} at step {step} of {run.num_steps}, saved in "
            f"{run.model_dir}. The same command resumes there."
        )
        return 128 + stop.signal
    print(
        f"Trained to step {step}. Samples: {run.model_dir}/samples, checkpoints: "
        f"{run.model_dir}/checkpoints, curves: tensorboard --logdir={run.model_dir}"
    )
    return 0
