"""An exponential moving average of the generator's weights (Karras et al., 2018), by images seen.

The half-life is in images, so that it does not depend on the batch size, and is at most a fixed
share of the images seen so far, so that the average forgets the untrained weights (the warm-up of
StyleGAN2-ADA's code, Karras et al., 2020).
"""

from __future__ import annotations

import keras
import tensorflow as tf

WARM_UP = 0.05
"""The half-life's largest share of the images seen."""


def decay(half_life: float, batch_size: int, step: tf.Tensor) -> tf.Tensor:
    """The weight of the old average in step number `step` (int64, from 0); in float64."""
    seen = tf.cast(step + 1, tf.float64) * batch_size
    half_life = tf.minimum(tf.constant(half_life, tf.float64), WARM_UP * seen)
    return tf.pow(tf.constant(0.5, tf.float64), batch_size / half_life)


def start(average: keras.Model, model: keras.Model) -> None:
    """Gives `average` the weights of `model`."""
    for old, new in zip(average.weights, model.weights, strict=True):
        old.assign(new.value)


def update(average: keras.Model, model: keras.Model, old_weight: tf.Tensor) -> None:
    """Moves `average` to `model`; batch normalisation's statistics are averages already: copied.

    Within strategy.run, where every replica has the same values.
    """
    for old, new in zip(average.trainable_variables, model.trainable_variables, strict=True):
        weight = tf.cast(old_weight, old.dtype)
        old.assign(new.value + weight * (old.value - new.value))
    for old, new in zip(
        average.non_trainable_variables, model.non_trainable_variables, strict=True
    ):
        old.assign(new.value)
