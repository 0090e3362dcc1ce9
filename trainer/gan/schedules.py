"""Schedules: values that are functions of the step.

A setting of type `Value` accepts a number or a schedule. An optimizer evaluates its schedules at
its own number of updates: with discriminator_steps=k, the discriminator's optimizer makes k updates
in each step of the trainer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from trainer.config.registry import configurable
from trainer.errors import TrainerError

Schedule = Callable[[tf.Tensor], tf.Tensor]
"""The number of steps done, an integer scalar -> the value, a scalar of Keras's floatx."""
Value = float | Schedule


def at(value: Value, step: tf.Tensor, dtype: str) -> tf.Tensor:
    """The value, as a scalar of `dtype`, at the int64 scalar `step`."""
    return tf.cast(value(step) if callable(value) else value, dtype)


@configurable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
    """The same value at every step, to compare another schedule with.

    Args:
      value: The value.
    """

    value: float

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """See `Schedule`."""
        return tf.constant(self.value, keras.config.floatx())


@configurable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine from `first` to `last` (Loshchilov and Hutter, 2017, equation 5), then `last`.

    Args:
      first: Value at the end of the warm-up.
      last: Value from step warm_up_steps + steps on; it may be larger than `first`.
      steps: Number of steps of the cosine, at least 1.
      warm_up_steps: Number of steps before the cosine, during which the value rises linearly from
        0; at least 0.

    Raises:
      TrainerError: if a number of steps is out of range.
    """

    first: float
    last: float
    steps: int
    warm_up_steps: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warm_up_steps < 0:
            raise TrainerError(
                f"Cosine.steps={self.steps} must be at least 1, and "
                f"warm_up_steps={self.warm_up_steps} at least 0"
            )

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """See `Schedule`."""
        # Computed in float64, so that devices do not differ after rounding to float32.
        step = tf.cast(step, tf.float64)
        done = tf.clip_by_value((step - self.warm_up_steps) / self.steps, 0.0, 1.0)
        value = self.last + (self.first - self.last) * 0.5 * (1 + tf.cos(math.pi * done))
        if self.warm_up_steps:
            value *= tf.minimum(step / self.warm_up_steps, 1.0)
        return tf.cast(value, keras.config.floatx())


@configurable
@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Rises linearly from 0 to `value` over `steps` steps, and stays there.

    Args:
      value: Value from step `steps` on.
      steps: Number of steps of the warm-up, at least 1.

    Raises:
      TrainerError: if `steps` is out of range.
    """

    value: float
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise TrainerError(f"WarmUp.steps={self.steps} must be at least 1")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """See `Schedule`."""
        done = tf.minimum(tf.cast(step, tf.float64) / self.steps, 1.0)
        return tf.cast(self.value * done, keras.config.floatx())
