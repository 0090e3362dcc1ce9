"""The gradient of a transposed convolution's kernel as a convolution, in bfloat16."""

from __future__ import annotations

import tensorflow as tf

from trainer.kernels.selection import in_use_on


def takes(inputs: tf.Tensor, strides: tuple[int, int]) -> bool:
    """Whether the function below is meant for a layer of these inputs, or else Keras's own."""
    known = in_use_on("dilated_gradients", inputs)
    return known and inputs.dtype == tf.bfloat16 and max(strides) > 1


def conv2d_transpose(inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """The transpose of a "same" convolution, [B, H, W, D] by [k, l, C, D] -> [B, H s, W s, C]."""
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

    An element of the kernel is a sum of products over the examples and the places of `small`: it is
    a convolution of `large` by `small`, dilated by the strides, with examples for channels. The
    channels of `large` lie side by side along its rows, and the dilation along these is so many
    times as long: then one convolution does all of them, and its output needs no transposing.
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
    # There is more where the stride is longer than the kernel, whose gradient is the first of it.
    summed = summed[0, : extent[0], : extent[1] * channels]
    return tf.reshape(summed, [*extent, channels, small.shape[-1]])


def _padding(extent: int, stride: int, count: int, size: int) -> list[int]:
    """Of "same": before and after."""
    total = max((count - 1) * stride + extent - size, 0)
    return [total // 2, total - total // 2]
