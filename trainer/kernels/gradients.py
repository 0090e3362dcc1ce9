"""The gradient of a transposed convolution's kernel as a convolution, in bfloat16."""

from __future__ import annotations

import tensorflow as tf

from trainer.kernels.selection import in_use_for


def supports(inputs: tf.Tensor, strides: tuple[int, int]) -> bool:
    """Whether `conv2d_transpose` is in use and can replace Keras's for these inputs and strides."""
    return (
        in_use_for("dilated_gradients", inputs) and inputs.dtype == tf.bfloat16 and max(strides) > 1
    )


def conv2d_transpose(inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """The transpose of a "same" convolution: [B, H, W, D] by [k, l, C, D] -> [B, H s, W s, C]."""
    batch, height, width, _ = inputs.shape
    size = [batch, height * strides[0], width * strides[1], kernel.shape[2]]

    @tf.custom_gradient
    def forward(inputs: tf.Tensor, kernel: tf.Tensor):
        def gradient(upstream: tf.Tensor):
            return (
                tf.nn.conv2d(upstream, kernel, strides, "SAME"),
                _kernel_gradient(upstream, inputs, kernel.shape[:2], strides),
            )

        return tf.nn.conv2d_transpose(inputs, kernel, size, strides, "SAME"), gradient

    return forward(inputs, kernel)


def _kernel_gradient(large, small, extent, strides) -> tf.Tensor:
    """[B, H s, W s, C] and [B, H, W, D] -> [k, l, C, D].

    An element of the kernel's gradient is a sum of products over the examples and the positions of
    `small`: a convolution of `large` by `small`, dilated by the strides, with examples as channels.
    The channels of `large` are laid side by side along its rows, and the dilation along the rows is
    multiplied by their number. Then a single convolution computes all of them, and its output needs
    no transposition.
    """
    batch, height, width, channels = large.shape
    image = tf.transpose(tf.reshape(large, [batch, -1]))
    image = tf.reshape(image, [1, height, width * channels, batch])
    rows, columns = (
        _padding(k, stride, n, whole)
        for k, stride, n, whole in zip(
            extent, strides, small.shape[1:3], (height, width), strict=True
        )
    )
    summed = tf.nn.conv2d(
        image,
        tf.transpose(small, [1, 2, 0, 3]),
        strides=1,
        padding=[[0, 0], rows, [n * channels for n in columns], [0, 0]],
        dilations=[strides[0], strides[1] * channels],
    )
    # If the stride exceeds the kernel's extent, the output is larger than the kernel: crop it.
    summed = summed[0, : extent[0], : extent[1] * channels]
    return tf.reshape(summed, [*extent, channels, small.shape[-1]])


def _padding(extent: int, stride: int, count: int, size: int) -> list[int]:
    """The padding of "same", before and after."""
    total = max((count - 1) * stride + extent - size, 0)
    return [total // 2, total - total // 2]
