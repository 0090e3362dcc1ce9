"""Dropout whose numbers are each example's own."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer import rng
from trainer.kernels import dropout


@keras.saving.register_keras_serializable(package="trainer")
class Dropout(keras.layers.Layer):
    """Dropout (Srivastava et al., 2014) with one independent mask for each example.

    In training mode it zeroes each element with probability `rate`, rounded to a multiple of
    2**-16, and scales the others to keep the expectation. Its random numbers come from the
    enclosing `trainer.rng.key_scope`. In inference mode it only applies the LeakyReLU, if any.

    Args:
      rate: 0 <= rate < 1.
      negative_slope: Of a LeakyReLU before it, which is faster in one layer; 1 for none.
      always: Whether it drops in inference mode too: noise for a generator (Isola et al., 2017).

    Raises:
      ValueError: for a rate outside that range.
    """

    def __init__(
        self, rate: float, *, negative_slope: float = 1.0, always: bool = False, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate} is not in [0, 1)")
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
