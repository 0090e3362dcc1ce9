"""Values that change while training: functions of the step, from 0, that a config may bind.

Where a setting takes a `Value`, a number is as good as a schedule. Optimizers count their own
steps: with `train.discriminator_steps` of k, the discriminator's makes k in one of the trainer's.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from trainer.errors import TrainerError

Schedule = Callable[[tf.Tensor], tf.Tensor]
Value = float | Schedule


def at(value: Value, step: tf.Tensor, dtype: str) -> tf.Tensor:
    """The value, a scalar, at int64 scalar `step`."""
    return tf.cast(value(step) if callable(value) else value, dtype)


def constant(*, value: float) -> Schedule:
    """The same at every step: what a schedule is compared with.

    Args:
      value: At every step.
    """
    return lambda step: tf.constant(value, keras.config.floatx())


def cosine(*, first: float, last: float, steps: int, warm_up_steps: int = 0) -> Schedule:
    """Half a cosine from `first` to `last` (Loshchilov and Hutter, 2017, equation 5), then `last`.

    Args:
      first: The value at the end of the warm-up.
      last: The value from step warm_up_steps + steps on; it may be the larger one.
      steps: The cosine's length, at least 1.
      warm_up_steps: Steps before it in which the value rises in a straight line from 0.

    Raises:
      TrainerError: for lengths that are out of range.
    """
    if steps < 1 or warm_up_steps < 0:
        raise TrainerError(
            f"cosine.steps={steps} must be at least 1, and warm_up_steps={warm_up_steps} at least 0"
        )

    def schedule(step: tf.Tensor) -> tf.Tensor:
        # In float64, whose rounding is the same on every device that trains in float32.
        step = tf.cast(step, tf.float64)
        done = tf.clip_by_value((step - warm_up_steps) / steps, 0.0, 1.0)
        value = last + (first - last) * 0.5 * (1 + tf.cos(3.141592653589793 * done))
        if warm_up_steps:
            value *= tf.minimum(step / warm_up_steps, 1.0)
        return tf.cast(value, keras.config.floatx())

    return schedule


def warm_up(*, value: float, steps: int) -> Schedule:
    """In a straight line from 0 to `value` over `steps`, and constant from there.

    Args:
      value: From step `steps` on.
      steps: At least 1.

    Raises:
      TrainerError: for a length that is out of range.
    """
    return cosine(first=value, last=value, steps=1, warm_up_steps=steps)
