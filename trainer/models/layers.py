"""Layers whose training behaviour does not depend on the number of replicas.

What they compute is Keras's or the literature's; `trainer.kernels` has faster ways to compute some.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer import random
from trainer.errors import TrainerError
from trainer.kernels import convolutions, dropout, normalization

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


class _SpectralNormalization(keras.layers.Layer):
    """A kernel divided by its largest singular value, for a Keras layer (Miyato et al., 2018).

    Gradients pass through the division. Keras's own wrapper overwrites the kernel instead. The
    power iteration goes one round a call, in training mode only, so that looking changes nothing.
    """

    def __init__(self, *args, spectral: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.spectral = spectral
        self._iterates = False

    def build(self, input_shape) -> None:
        super().build(input_shape)
        if self.spectral:
            self._left = self.add_weight(
                name="left", shape=[super().kernel.shape[-1]], initializer="ones", trainable=False
            )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        self._iterates = training
        try:
            return super().call(inputs)
        finally:
            self._iterates = False

    @property
    def kernel(self):
        kernel = super().kernel
        if not self.spectral or not self.built:
            return kernel
        matrix = tf.reshape(tf.convert_to_tensor(kernel), [-1, kernel.shape[-1]])
        fixed = tf.stop_gradient(matrix)
        right = tf.math.l2_normalize(tf.linalg.matvec(fixed, tf.convert_to_tensor(self._left)))
        left = tf.math.l2_normalize(tf.linalg.matvec(fixed, right, transpose_a=True))
        if self._iterates:
            self._left.assign(left)
        norm = tf.tensordot(right, tf.linalg.matvec(matrix, left), 1)
        return tf.convert_to_tensor(kernel) / norm

    def get_config(self) -> dict:
        return {**super().get_config(), "spectral": self.spectral}


@keras.saving.register_keras_serializable(package="trainer")
class Dense(_SpectralNormalization, keras.layers.Dense):
    """Keras's Dense; `spectral=True` normalises its kernel."""


class _Conv2D(keras.layers.Conv2D):
    """Keras's Conv2D, whose gradients may be faster in the layer that sees images."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if not self.use_bias or not convolutions.takes(inputs.shape[-1], inputs, self.strides):
            return super().call(inputs)
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        return self.activation(convolutions.conv2d(inputs, kernel, bias, self.strides))


@keras.saving.register_keras_serializable(package="trainer")
class Conv2D(_SpectralNormalization, _Conv2D):
    """Keras's Conv2D with "same" padding, for images; `spectral=True` normalises its kernel."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))


@keras.saving.register_keras_serializable(package="trainer")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's Conv2DTranspose with "same" padding, for images."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if not self.use_bias or not convolutions.takes(self.filters, inputs, self.strides):
            return super().call(inputs)
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        return self.activation(convolutions.conv2d_transpose(inputs, kernel, self.strides) + bias)


@keras.saving.register_keras_serializable(package="trainer")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's, over the last axis; statistics are over the global batch if `synchronized`.

    Raises:
      ValueError: for another axis, or renormalisation, which Keras's own layer has.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if self.axis != -1 or getattr(self, "renorm", False):
            raise ValueError(
                f"layers.BatchNormalization with axis={self.axis} normalises the last axis only, "
                "without renorm: use keras.layers.BatchNormalization"
            )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not normalization.takes(inputs):
            return super().call(inputs, training=training)
        channels = inputs.shape[-1]
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        moving = [self.moving_mean, self.moving_variance]
        given = None if training else tuple(tf.convert_to_tensor(v) for v in moving)
        outputs, *moments = normalization.normalize(
            inputs, gamma, beta, self.epsilon, given, synchronized=self.synchronized
        )
        if training:
            for variable, moment in zip(moving, moments, strict=True):
                variable.assign(variable * self.momentum + moment * (1 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(package="trainer")
class ConditionalBatchNormalization(keras.layers.Layer):
    """Batch normalisation with a scale and an offset of each class (de Vries et al., 2017).

    Args:
      num_classes: Labels are int32 [B] in [0, num_classes).
      synchronized: Whether statistics are over the global batch.
    """

    def __init__(self, num_classes: int, synchronized: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.synchronized = synchronized

    def build(self, inputs_shape, labels_shape) -> None:
        channels = inputs_shape[-1]
        self.norm = BatchNormalization(center=False, scale=False, synchronized=self.synchronized)
        self.norm.build(inputs_shape)
        self.scale = keras.layers.Embedding(self.num_classes, channels, "ones")
        self.offset = keras.layers.Embedding(self.num_classes, channels, "zeros")
        self.scale.build(None)
        self.offset.build(None)

    def call(self, inputs: tf.Tensor, labels: tf.Tensor, training: bool = False) -> tf.Tensor:
        scale, offset = (
            embedding(labels)[:, tf.newaxis, tf.newaxis] for embedding in (self.scale, self.offset)
        )
        return self.norm(inputs, training=training) * scale + offset

    def compute_output_shape(self, inputs_shape, labels_shape):
        return inputs_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "synchronized": self.synchronized,
        }


@keras.saving.register_keras_serializable(package="trainer")
class MinibatchDeviation(keras.layers.Layer):
    """Adds a feature map of how much a group's examples differ (Karras et al., 2018, section 3).

    The deviation of each feature over a group, averaged over the features, as one more channel.
    Groups are neighbours in the batch, as in StyleGAN2: they do not mix real and fake examples, and
    do not depend on how many replicas share the batch.

    Args:
      group_size: At least 2; it must divide the share of each replica.
    """

    def __init__(self, group_size: int = 4, **kwargs) -> None:
        super().__init__(**kwargs)
        self.group_size = group_size

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        batch, *place = inputs.shape
        if batch is None:  # a symbolic call, when a model is built
            return tf.concat([inputs, inputs[..., :1]], axis=-1)
        if self.group_size < 2 or batch % self.group_size:
            raise TrainerError(
                f"MinibatchDeviation.group_size={self.group_size} must be at least 2 and divide a "
                f"replica's batch, {batch} here; choose another one, or another train.batch_size"
            )
        groups = tf.reshape(inputs, [-1, self.group_size, *place])
        # The root's own gradient is infinite where a group's examples are the same.
        deviation = tf.sqrt(tf.math.reduce_variance(groups, axis=1) + 1e-8)
        mean = tf.reduce_mean(deviation, axis=[*range(1, len(place) + 1)])
        shape = [batch, *place[:-1], 1]
        channel = tf.reshape(tf.repeat(mean, self.group_size), [-1, *[1] * len(place)])
        return tf.concat([inputs, tf.broadcast_to(channel, shape)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self) -> dict:
        return {**super().get_config(), "group_size": self.group_size}


@keras.saving.register_keras_serializable(package="trainer")
class Dropout(keras.layers.Layer):
    """Dropout (Srivastava et al., 2014) with one independent mask for each example.

    In training mode it zeroes each element with probability `rate`, rounded to a multiple of
    2**-16, and scales the others to keep the expectation. Its random numbers come from the
    enclosing `trainer.random.key_scope`. In inference mode it only applies the LeakyReLU, if any.

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
            keys = random.next_keys(self.name)
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


def project(
    features: keras.KerasTensor,
    labels: keras.KerasTensor,
    num_classes: int,
    spectral: bool = False,
) -> keras.KerasTensor:
    """Features [B, D], labels int32 [B] -> logits [B, 1] (Miyato and Koyama, 2018, equation 3)."""
    of_class = keras.layers.Embedding(num_classes, features.shape[-1], "glorot_uniform")(labels)
    product = keras.layers.Dot(axes=1)([features, of_class])
    return keras.layers.Add()([Dense(1, spectral=spectral)(features), product])
