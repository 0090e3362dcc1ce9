"""Dropout with a random mask for each example."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer import rng
from trainer.kernels import dropout


@keras.saving.register_keras_serializable(package="trainer")
class Dropout(keras.layers.Layer):
    """Dropout (Srivastava et al., 2014) with an independent mask for each example.

    In training mode it sets each element to zero with probability `rate`, rounded to a multiple of
    2**-16, and scales the others so that the mean stays the same. Call it within a
    `trainer.rng.key_scope`, which provides the random numbers. In inference mode it only applies
    the LeakyReLU, if any.

    Args:
      rate: Probability of dropping an element, in [0, 1).
      negative_slope: Slope, above 0, of a LeakyReLU before the dropout, which is faster in one
        layer; 1 for no LeakyReLU.
      always: Whether to drop in inference mode too, as noise for a generator (Isola et al., 2017).

    Raises:
      ValueError: if the rate is out of range.
    """

    def __init__(
        self, rate: float, *, negative_slope: float = 1.0, always: bool = False, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate={rate} must be in [0, 1)")
        self.rate = rate
        self.negative_slope = negative_slope
        self.always = always

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        threshold = round(self.rate * 2**16)
        if (training or self.always) and threshold:
            keys = rng.next_keys(self.name)
            return dropout.drop(inputs, keys, threshold, self.negative_slope)
        return inputs if self.negative_slope == 1 else tf.nn.leaky_relu(inputs, self.negative_slope)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "rate": self.rate,
            "negative_slope": self.negative_slope,
            "always": self.always,
        }
