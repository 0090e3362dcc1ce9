"""Keras's dense and convolutional layers, with faster kernels and spectral normalisation."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.kernels import activation, convolutions, gradients


@tf.custom_gradient
def add_bias(values: tf.Tensor, bias: tf.Tensor):
    """values [..., C] + bias [C].

    TensorFlow's own gradient of the bias is summed in bfloat16 on CPUs, where small terms are lost:
    a sum of 25,088 came out at a quarter of its value. In float32, TensorFlow merges it with the
    kernel's gradient, which then takes three times as long in the layer that sees images.
    """
    axes = [*range(values.shape.rank - 1)]
    return tf.nn.bias_add(values, bias), lambda upstream: (upstream, tf.reduce_sum(upstream, axes))


class _Linear(keras.layers.Layer):
    """Base of Keras layers that are a linear map of their inputs, a bias and an activation."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = self._map(inputs, self._kernel_for(training))
        if self.use_bias:
            bias = tf.convert_to_tensor(self.bias)
            if activation.supports(outputs, self.activation):
                return activation.leaky_relu(outputs, bias, self.activation.negative_slope)
            outputs = add_bias(outputs, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def _kernel_for(self, training: bool) -> tf.Tensor:
        """The kernel to apply in a call."""
        return tf.convert_to_tensor(self.kernel)

    def _map(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


class _SpectralNormalization(_Linear):
    """Divides the kernel by its largest singular value if `spectral` (Miyato et al., 2018).

    The singular value is estimated by power iteration (Miyato et al., appendix A, algorithm 1): one
    iteration in each call in training mode, and none in inference mode, which changes no state.
    Gradients pass through the division. (Keras's own wrapper overwrites the kernel instead.)
    """

    def __init__(self, *args, spectral: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.spectral = spectral

    def build(self, input_shape) -> None:
        super().build(input_shape)
        if self.spectral:
            self._left = self.add_weight(
                name="left", shape=[self.kernel.shape[-1]], initializer="ones", trainable=False
            )

    def normalised_kernel(self) -> tf.Tensor:
        """The kernel that the layer applies in inference mode; `kernel` unless `spectral`."""
        return self._kernel_for(training=False)

    def _kernel_for(self, training: bool) -> tf.Tensor:
        if not self.spectral:
            return super()._kernel_for(training)
        norm, left = _largest_singular_value(
            tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self._left)
        )
        if training:
            self._left.assign(left)
        # Converted once more: the gradients of both are then added in the dtype of the variable,
        # which may be wider than that of the computation.
        return tf.convert_to_tensor(self.kernel) / norm

    def get_config(self) -> dict:
        return {**super().get_config(), "spectral": self.spectral}


def _largest_singular_value(kernel: tf.Tensor, left: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """An estimate of a kernel's largest singular value by one power iteration.

    Args:
      kernel: [..., D], read as a matrix of D columns, the transpose of the paper's.
      left: [D], an estimate of the paper's left singular vector, of any length.

    Returns:
      The singular value, whose gradient goes to the kernel; the next estimate of `left`, of length
      1.
    """
    matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
    fixed = tf.stop_gradient(matrix)
    right = tf.math.l2_normalize(tf.linalg.matvec(fixed, left))
    left = tf.math.l2_normalize(tf.linalg.matvec(fixed, right, transpose_a=True))
    return tf.tensordot(right, tf.linalg.matvec(matrix, left), 1), left


@keras.saving.register_keras_serializable(package="trainer")
class Dense(_SpectralNormalization, keras.layers.Dense):
    """Keras's Dense; `spectral=True` divides its kernel by the kernel's largest singular value."""

    def _map(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.matmul(inputs, kernel)


@keras.saving.register_keras_serializable(package="trainer")
class Conv2D(_SpectralNormalization, keras.layers.Conv2D):
    """Keras's Conv2D with "same" padding; `spectral=True` as in `Dense`."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))

    def _map(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if convolutions.supports(inputs.shape[-1], inputs, self.strides):
            return convolutions.conv2d(inputs, kernel, self.strides)
        return self.convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable(package="trainer")
class Conv2DTranspose(_Linear, keras.layers.Conv2DTranspose):
    """Keras's Conv2DTranspose with "same" padding."""

    def __init__(self, filters: int, kernel_size: int, **kwargs) -> None:
        super().__init__(filters, kernel_size, **(kwargs | {"padding": "same"}))

    def _map(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.output_padding is None:
            if convolutions.supports(self.filters, inputs, self.strides):
                return convolutions.conv2d_transpose(inputs, kernel, self.strides)
            if gradients.supports(inputs, self.strides):
                return gradients.conv2d_transpose(inputs, kernel, self.strides)
        return keras.ops.conv_transpose(
            inputs,
            kernel,
            list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
