"""Layers whose training behaviour does not depend on the number of replicas."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer import random
from trainer.errors import TrainerError


def leaky_relu() -> keras.layers.Layer:
    """LeakyReLU with the slope 0.2 of the tutorial and of Radford et al.'s DCGAN (2015)."""
    return keras.layers.LeakyReLU(negative_slope=0.2)


def quarter_size(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """(H/4, W/4), where a generator that doubles the size twice begins.

    Raises:
      TrainerError: if a side of the image is not a multiple of 4.
    """
    height, width, _ = image_shape
    if height % 4 or width % 4:
        raise TrainerError(
            f"images of {height}x{width} do not fit this generator, which doubles the size twice: "
            "both sides must be multiples of 4; resize the dataset or choose another generator"
        )
    return height // 4, width // 4


@keras.saving.register_keras_serializable(package="trainer")
class Dropout(keras.layers.Layer):
    """Dropout (Srivastava et al., 2014) with one independent mask for each example.

    In training mode it zeroes each element with probability `rate`, rounded to a multiple of
    2**-16, and scales the others to keep the expectation. Its random numbers come from the
    enclosing `trainer.random.key_scope`. In inference mode it does nothing.

    Args:
      rate: 0 <= rate < 1.

    Raises:
      ValueError: for a rate outside that range.
    """

    def __init__(self, rate: float, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate} is not in [0, 1)")
        self.rate = rate

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        threshold = round(self.rate * 2**16)
        if not training or not threshold:
            return inputs
        keep = random.keep_mask(random.next_keys(self.name), inputs.shape[1:], threshold)
        scale = tf.constant(1 / (1 - threshold / 2**16), inputs.dtype)
        return tf.where(keep, inputs * scale, tf.zeros([], inputs.dtype))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}
