"""Layers whose training behaviour does not depend on the number of replicas.

What they compute is Keras's or the literature's; `trainer.kernels` has faster ways to compute some.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer import kernels, random
from trainer.errors import TrainerError

SLOPE = 0.2
"""LeakyReLU's slope in the tutorial and in Radford et al.'s DCGAN (2015)."""


def leaky_relu() -> keras.layers.Layer:
    """LeakyReLU with the slope SLOPE."""
    return keras.layers.LeakyReLU(negative_slope=SLOPE)


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
class Conv2D(keras.layers.Conv2D):
    """Keras's Conv2D with "same" padding, for images: its first layer's gradient may be faster."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))

    def convolution_op(self, inputs: tf.Tensor, kernel: keras.Variable) -> tf.Tensor:
        outputs = kernels.conv2d(inputs, tf.convert_to_tensor(kernel), self.strides)
        return super().convolution_op(inputs, kernel) if outputs is None else outputs


@keras.saving.register_keras_serializable(package="trainer")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's Conv2DTranspose with "same" padding, for images."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = kernels.conv2d_transpose(inputs, kernel, self.strides)
        if outputs is None:
            return super().call(inputs)
        return self.activation(outputs + tf.convert_to_tensor(self.bias))


@keras.saving.register_keras_serializable(package="trainer")
class Dropout(keras.layers.Layer):
    """Dropout (Srivastava et al., 2014) with one independent mask for each example.

    In training mode it zeroes each element with probability `rate`, rounded to a multiple of
    2**-16, and scales the others to keep the expectation. Its random numbers come from the
    enclosing `trainer.random.key_scope`. In inference mode it only applies the LeakyReLU, if any.

    Args:
      rate: 0 <= rate < 1.
      negative_slope: Of a LeakyReLU before it, which is faster in one layer; 1 for none.

    Raises:
      ValueError: for a rate outside that range.
    """

    def __init__(self, rate: float, *, negative_slope: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate} is not in [0, 1)")
        self.rate = rate
        self.negative_slope = negative_slope

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        threshold = round(self.rate * 2**16)
        if training and threshold:
            keys = random.next_keys(self.name)
            return kernels.drop(inputs, keys, threshold, self.negative_slope)
        return inputs if self.negative_slope == 1 else tf.nn.leaky_relu(inputs, self.negative_slope)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "rate": self.rate,
            "negative_slope": self.negative_slope,
        }
