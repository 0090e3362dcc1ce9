"""Dense and convolutional layers: Keras's, but for the norm, the bias and the faster kernels."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.kernels import activation, convolutions, gradients


@tf.custom_gradient
def add_bias(values: tf.Tensor, bias: tf.Tensor):
    """[..., C] + [C].

    TensorFlow's own gradient of the bias adds up in bfloat16 on CPUs, where small terms are lost:
    a sum of 25,088 came out at a quarter of what it is. In float32 it is merged with that of the
    kernel, which then takes three times as long in the layer that sees images.
    """
    axes = [*range(values.shape.rank - 1)]
    return tf.nn.bias_add(values, bias), lambda upstream: (upstream, tf.reduce_sum(upstream, axes))


class _Linear(keras.layers.Layer):
    """For a Keras layer that consists of a linear map of its inputs, a bias and an activation."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = self._map(inputs)
        if self.use_bias:
            bias = tf.convert_to_tensor(self.bias)
            if activation.takes(outputs, self.activation):
                return activation.leaky_relu(outputs, bias, self.activation.negative_slope)
            outputs = add_bias(outputs, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def _map(self, inputs: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


class _SpectralNormalization(_Linear):
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

    def _map(self, inputs: tf.Tensor) -> tf.Tensor:
        return keras.ops.matmul(inputs, self.kernel)


@keras.saving.register_keras_serializable(package="trainer")
class Conv2D(_SpectralNormalization, keras.layers.Conv2D):
    """Keras's Conv2D with "same" padding, for images; `spectral=True` normalises its kernel."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))

    def _map(self, inputs: tf.Tensor) -> tf.Tensor:
        if not convolutions.takes(inputs.shape[-1], inputs, self.strides):
            return self.convolution_op(inputs, self.kernel)
        return convolutions.conv2d(inputs, tf.convert_to_tensor(self.kernel), self.strides)


@keras.saving.register_keras_serializable(package="trainer")
class Conv2DTranspose(_Linear, keras.layers.Conv2DTranspose):
    """Keras's Conv2DTranspose with "same" padding, for images."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))

    def _map(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        usual = self.output_padding is None
        if usual and convolutions.takes(self.filters, inputs, self.strides):
            return convolutions.conv2d_transpose(inputs, kernel, self.strides)
        if usual and gradients.takes(inputs, self.strides):
            return gradients.conv2d_transpose(inputs, kernel, self.strides)
        settings = ("padding", "output_padding", "dilation_rate", "data_format")
        given = {name: getattr(self, name) for name in settings}
        return keras.ops.conv_transpose(inputs, kernel, list(self.strides), **given)
