"""Values that change while training: functions of the step, from 0, that a config may bind.

Where a setting takes a `Value`, it takes a number or a schedule. Optimizers count their own steps:
with `train.discriminator_steps` of k, the discriminator's makes k in one step of the trainer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from trainer.errors import TrainerError

Schedule = Callable[[tf.Tensor], tf.Tensor]
"""Step, an integer scalar from 0 -> the value at that step, a scalar of Keras's floatx."""
Value = float | Schedule


def at(value: Value, step: tf.Tensor, dtype: str) -> tf.Tensor:
    """The value, a scalar of `dtype`, at int64 scalar `step`."""
    return tf.cast(value(step) if callable(value) else value, dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
    """The same value at every step: what another schedule is compared with.

    Args:
      value: The value.
    """

    value: float

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """See `Schedule`."""
        return tf.constant(self.value, keras.config.floatx())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine from `first` to `last` (Loshchilov and Hutter, 2017, equation 5), then `last`.

    Args:
      first: Value at the end of the warm-up.
      last: Value from step warm_up_steps + steps on; it may be larger than `first`.
      steps: Length of the cosine, at least 1.
      warm_up_steps: Steps before the cosine, in which the value rises linearly from 0; at least 0.

    Raises:
      TrainerError: for lengths that are out of range.
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
        # In float64, whose rounding is the same on every device that trains in float32.
        step = tf.cast(step, tf.float64)
        done = tf.clip_by_value((step - self.warm_up_steps) / self.steps, 0.0, 1.0)
        value = self.last + (self.first - self.last) * 0.5 * (1 + tf.cos(math.pi * done))
        if self.warm_up_steps:
            value *= tf.minimum(step / self.warm_up_steps, 1.0)
        return tf.cast(value, keras.config.floatx())


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Rises linearly from 0 to `value` over `steps`, and is constant from there.

    Args:
      value: Value from step `steps` on.
      steps: Length of the warm-up, at least 1.

    Raises:
      TrainerError: for a length that is out of range.
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
