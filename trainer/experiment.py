"""The gin surface, and the only place that wires parts together: a config becomes a Run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer import losses, optimizers, peers
from trainer import strategy as strategies
from trainer.augment import Augmentation
from trainer.data.dataset import Dataset, DatasetSpec
from trainer.doctor import Doctor
from trainer.errors import TrainerError, check_takes
from trainer.evaluation import Evaluator
from trainer.gan import GanTrainer
from trainer.opponents import Opponents
from trainer.penalties import Penalty
from trainer.run import Run

_LEAST = {
    **dict.fromkeys(("batch_size", "latent_dim", "num_epochs", "num_steps", "steps_per_loop"), 1),
    **dict.fromkeys(("num_samples", "keep_checkpoints", "discriminator_steps"), 1),
    **dict.fromkeys(("checkpoint_every", "sample_every", "evaluate_every", "ema_half_life"), 0),
    "rollbacks": 0,
}
"""The least that each whole number among train's settings may be."""

_CALLED = (
    *("dataset", "generator", "discriminator", "strategy", "loss", "evaluator"),
    *("generator_optimizer", "discriminator_optimizer"),
)
_ALL_CALLED = ("penalties", "augmentations")
"""Settings that are called, or each of whose elements is."""

_TRAINER = (
    *("generator", "discriminator", "generator_optimizer", "discriminator_optimizer"),
    *("auxiliary_weight", "augmentations", "opponents", "discriminator_steps", "latent_dim"),
    *("batch_size", "seed", "ema_half_life", "precision", "kernels"),
)
"""Settings that GanTrainer takes as they are."""

_SCHEDULE = (
    *("steps_per_loop", "checkpoint_every", "sample_every", "num_samples"),
    *("keep_checkpoints", "evaluate_every", "rollbacks"),
)
"""Settings that a Run takes as they are."""


def train(
    *,
    dataset: Callable[..., Dataset],
    generator: Callable[..., keras.Model],
    discriminator: Callable[..., keras.Model],
    conditional: bool = False,
    strategy: Callable[[], tf.distribute.Strategy] = strategies.auto,
    loss: Callable[[], losses.GanLoss] = losses.binary_cross_entropy,
    auxiliary_weight: float = 1.0,
    penalties: Sequence[Callable[[], Penalty]] = (),
    augmentations: Sequence[Callable[[], Augmentation]] = (),
    opponents: Callable[..., Opponents] | None = None,
    generator_optimizer: Callable[[], keras.optimizers.Optimizer] = optimizers.adam,
    discriminator_optimizer: Callable[[], keras.optimizers.Optimizer] = optimizers.adam,
    discriminator_steps: int = 1,
    batch_size: int = 128,
    latent_dim: int = 50,
    num_epochs: int = 30,
    num_steps: int | None = None,
    seed: int = 0,
    ema_half_life: int = 0,
    precision: str = "float32",
    kernels: Sequence[str] | None = None,
    steps_per_loop: int = 50,
    checkpoint_every: int = 1000,
    keep_checkpoints: int = 3,
    sample_every: int = 500,
    num_samples: int = 64,
    evaluator: Callable[..., Evaluator] = Evaluator,
    evaluate_every: int = 0,
    doctor: Callable[..., Doctor] | None = Doctor,
    rollbacks: int = 0,
    model_dir: str,
    data_dir: str | None = None,
    task: Callable[[Run], int],
) -> int:
    """The whole gin surface: builds a run from what the config names and hands it to `task`.

    Args:
      dataset: (data_dir) -> Dataset.
      generator: Constructor, (latent_dim, image_shape) -> model.
      discriminator: Constructor, (image_shape) -> model.
      conditional: Whether the models know labels; their constructors take num_classes too then.
      strategy: Makes the tf.distribute strategy; see `hardware/*.gin`.
      loss: Makes both players' losses.
      auxiliary_weight: Of the class loss, where the discriminator classifies too.
      penalties: Each makes a penalty on the discriminator.
      augmentations: Each makes a change to all images that the discriminator sees.
      opponents: Constructor of a memory of past fakes, for the discriminator.
      generator_optimizer: Constructor of a Keras optimizer.
      discriminator_optimizer: Constructor of a Keras optimizer.
      discriminator_steps: Batches that the discriminator learns from in each step.
      batch_size: Global batch size, shared evenly by all replicas.
      latent_dim: Size of a latent vector.
      num_epochs: Passes over the dataset, in whole batches.
      num_steps: Steps to train; wins over num_epochs.
      seed: 0 <= seed < 2**32; fixes every random number of the run.
      ema_half_life: Images after which a weight counts half in the average of the generator that
        samples and evaluation use; 0 for no average.
      precision: What the models compute in: "float32", or "mixed_bfloat16" over float32 weights.
      kernels: Faster ways to compute, of `trainer.kernels.KERNELS`; None for the devices' default.
      steps_per_loop: Most steps in one call on the devices; the loop reports after each call.
      checkpoint_every: Steps between checkpoints; 0 for one at the end only.
      keep_checkpoints: How many checkpoints to keep.
      sample_every: Steps between sample grids; 0 for one at the end only.
      num_samples: Images in a sample grid.
      evaluator: Constructor, (strategy, dataset, data_dir, seed) -> Evaluator.
      evaluate_every: Steps between evaluation cards while training; 0 for none.
      doctor: Constructor, (trainer, dataset, images, labels) -> Doctor; None for none.
      rollbacks: How often training may go back to the doctor's last healthy examination, with
        other random numbers, after an alert or where a loss or gradient is not finite.
      model_dir: Where the run is, or will be; not a gin setting.
      data_dir: Where prepared datasets are; not a gin setting.
      task: What to do with the run; not a gin setting.

    Returns:
      The exit code of the task.

    Raises:
      TrainerError: if a setting breaks a rule.
    """
    settings = locals()
    _check_least(settings)
    _check_callable(settings)
    distribution = _set_up(strategy)  # before anything else touches the devices
    with peers.loss_explained(distribution):
        source = dataset(data_dir=data_dir)
        images, labels = source.load("train")
        examples = {"images": images, "labels": labels if conditional else None}
        trainer = _trainer(settings, strategy=distribution, spec=source.spec, **examples)
        care = doctor and doctor(trainer=trainer, dataset=source, **examples)
        real_images = images[:num_samples].copy()
        del images, examples  # the trainer has them; a view would hold all of the array
        measure = evaluator(strategy=distribution, dataset=source, data_dir=data_dir, seed=seed)
        run = Run(
            trainer=trainer,
            spec=source.spec,
            real_images=real_images,
            model_dir=model_dir,
            num_steps=num_steps or num_epochs * trainer.order.steps_per_epoch,
            evaluator=measure,
            doctor=care,
            **{name: settings[name] for name in _SCHEDULE},
        )
        return task(run)


def _trainer(settings: dict[str, Any], *, spec: DatasetSpec, **given: Any) -> GanTrainer:
    """The trainer of train's settings, `given` its strategy and examples."""
    return GanTrainer(
        num_classes=spec.num_classes,
        loss=settings["loss"](),
        penalties=[penalty() for penalty in settings["penalties"]],
        **given,
        **{name: settings[name] for name in _TRAINER},
    )


def _check_least(settings: dict[str, Any]) -> None:
    for name, minimum in _LEAST.items():
        value = settings[name]
        if value is None and name == "num_steps":
            continue
        if not isinstance(value, int) or value < minimum:
            raise TrainerError(f"train.{name}={value!r} must be an integer of at least {minimum}")
    if settings["rollbacks"] and not settings["doctor"]:
        raise TrainerError(
            f"train.rollbacks={settings['rollbacks']} needs a doctor to say when; bind train.doctor"
        )


def _check_callable(settings: dict[str, Any]) -> None:
    for name in _ALL_CALLED:
        if not isinstance(settings[name], list | tuple):
            raise TrainerError(f"train.{name}={settings[name]!r} must be a list, as in [@module.f]")
    listed = [(name, value) for name in _ALL_CALLED for value in settings[name]]
    for name, value in [*((name, settings[name]) for name in _CALLED), *listed]:
        if not callable(value):
            raise TrainerError(
                f"train.{name} holds a {type(value).__name__}, but must name a function, which "
                "the trainer calls: @module.function, without quotes or parentheses"
            )
    check_takes(settings["dataset"], ["data_dir"])


def _set_up(strategy: Callable[[], tf.distribute.Strategy]) -> tf.distribute.Strategy:
    made = strategy()
    # Grappler's remapper gives up on convolutions followed by LeakyReLU, in an alarming line.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    return made
