"""Keras optimizers for gradients that are already summed over the replicas."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from trainer.gan import schedules
from trainer.gan.schedules import Value


def adam(
    *,
    learning_rate: Value = 2e-4,
    beta_1: float = 0.5,
    beta_2: Value = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float | None = None,
) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba, 2014) with the tutorial's learning rate and beta_1.

    Args:
      learning_rate: A number, or a schedule over the optimizer's own steps.
      beta_1: Decay of the gradient's mean, in [0, 1).
      beta_2: Decay of the squared gradient's mean, in [0, 1), or a schedule.
      epsilon: Added to the root of that mean.
      weight_decay: The share of each weight, times the learning rate, that a step takes off it
        (AdamW: Loshchilov and Hutter, 2019); None for none.
    """
    return ScheduledAdam(
        _Rate.of(learning_rate),
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )


def sgd(
    *, learning_rate: Value = 0.01, momentum: float = 0.0, weight_decay: float | None = None
) -> keras.optimizers.Optimizer:
    """Stochastic gradient descent.

    Args:
      learning_rate: A number, or a schedule over the optimizer's own steps.
      momentum: Share of the last update that the next one goes on with, in [0, 1].
      weight_decay: As of `adam`.
    """
    return keras.optimizers.SGD(
        _Rate.of(learning_rate), momentum=momentum, weight_decay=weight_decay
    )


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule, as Keras takes one for a learning rate."""

    def __init__(self, schedule: schedules.Schedule) -> None:
        self._schedule = schedule

    @classmethod
    def of(cls, value: Value) -> Value:
        return cls(value) if callable(value) else value

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self._schedule(tf.convert_to_tensor(step))


class ScheduledAdam(keras.optimizers.Adam):
    """Keras's Adam, whose beta_2 may be a schedule."""

    beta_2: Value

    def update_step(self, gradient, variable, learning_rate) -> None:
        given = self.beta_2
        self.beta_2 = schedules.at(given, tf.convert_to_tensor(self.iterations), variable.dtype)
        try:
            super().update_step(gradient, variable, learning_rate)
        finally:
            self.beta_2 = given


def for_reduced_gradients(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Builds `optimizer` to apply, on every replica, gradients that all replicas agree on.

    Keras would sum the gradients over the replicas inside `apply`, after clipping each replica's
    share on its own. The trainer sums first: then the norms it reports and any clipping are those
    of the whole batch, and the sum crosses the network once. Call inside `strategy.scope()`.

    Raises:
      RuntimeError: where this Keras release has no such step to skip.
    """
    if not hasattr(optimizer, "_all_reduce_sum_gradients"):
        raise RuntimeError(
            f"Keras {keras.__version__} reduces gradients in a way this trainer does not know; "
            "install a release within the range that setup.py names"
        )
    optimizer.build(variables)
    optimizer._all_reduce_sum_gradients = list
    return optimizer


def state(optimizer: keras.optimizers.Optimizer) -> list[tf.Variable]:
    """What a checkpoint must hold of a built optimizer: its step count and slots.

    Not the learning rate, which Keras keeps in a variable too: that is the config's to say, and a
    resumed run must follow the config.
    """
    slots = [v for v in optimizer.variables if v is not getattr(optimizer, "_learning_rate", None)]
    return [v.value for v in slots]
