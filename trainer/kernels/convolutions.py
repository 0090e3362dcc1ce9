"""Strided convolutions of images, and transposed ones to images, as matrix products."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.kernels.selection import in_use_for, upcast

MAX_CHANNELS = 4
"""The most channels of an image, as opposed to a feature map."""


def supports(channels: int, inputs: tf.Tensor, strides: tuple[int, int]) -> bool:
    """Whether the functions below are in use and can replace Keras's for a layer.

    Args:
      channels: Channels of the image: the inputs of `conv2d`, the outputs of `conv2d_transpose`.
      inputs: The layer's inputs.
      strides: The layer's strides.
    """
    return (
        in_use_for("matmul_convolutions", inputs)
        and channels <= MAX_CHANNELS
        and strides[0] == strides[1] > 1
    )


def conv2d(inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """A "same" convolution with stride s: [B, H, W, C] by [k, l, C, D] -> [B, H/s, W/s, D]."""

    @tf.custom_gradient
    def forward(inputs: tf.Tensor, kernel: tf.Tensor):
        def gradient(upstream: tf.Tensor):
            return (
                _spread(upstream, kernel, strides, inputs.shape[1:3]),
                _kernel_gradient(inputs, kernel, strides, upstream),
            )

        return tf.nn.conv2d(inputs, kernel, strides, "SAME"), gradient

    return forward(inputs, kernel)


def conv2d_transpose(inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """The transpose of `conv2d`: [B, H, W, D] by [k, l, C, D] -> [B, H s, W s, C]."""
    size = [n * stride for n, stride in zip(inputs.shape[1:3], strides, strict=True)]

    @tf.custom_gradient
    def forward(inputs: tf.Tensor, kernel: tf.Tensor):
        def gradient(upstream: tf.Tensor):
            return (
                tf.nn.conv2d(upstream, kernel, strides, "SAME"),
                _kernel_gradient(upstream, kernel, strides, inputs),
            )

        stopped = tf.stop_gradient(inputs), tf.stop_gradient(kernel)
        return _spread(*stopped, strides, size), gradient

    return forward(inputs, kernel)


def _kernel_gradient(image, kernel, strides, feature_map) -> tf.Tensor:
    return tf.raw_ops.Conv2DBackpropFilter(
        input=image,
        filter_sizes=tf.constant(kernel.shape.as_list()),
        out_backprop=feature_map,
        strides=[1, *strides, 1],
        padding="SAME",
    )


def _spread(inputs, kernel, strides, size) -> tf.Tensor:
    """The "same" transposed convolution to images of `size`, (H, W).

    An input contributes to k by l outputs. Its product with the kernel is cut into blocks of stride
    by stride outputs. The blocks at one position in the kernel make up an image of blocks; these
    images are added, each shifted by its position.
    """
    stride = strides[0]
    height, width, channels, depth = kernel.shape
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    kernel = tf.pad(
        kernel, [[0, rows * stride - height], [0, columns * stride - width], [0, 0], [0, 0]]
    )
    kernel = tf.reshape(kernel, [rows, stride, columns, stride, channels, depth])
    kernel = tf.reshape(tf.transpose(kernel, [5, 0, 2, 1, 3, 4]), [depth, -1])
    terms = tf.matmul(tf.reshape(inputs, [-1, depth]), kernel)
    terms = tf.reshape(terms, [*inputs.shape[:3], rows, columns, stride**2 * channels])
    top, left = (
        max((n - 1) * stride + extent - out, 0) // 2
        for n, extent, out in zip(inputs.shape[1:3], (height, width), size, strict=True)
    )
    return _assemble(terms, stride, top, left, *size)


@tf.function(jit_compile=True, autograph=False)
def _assemble(terms, stride, top, left, height, width) -> tf.Tensor:
    """Shifts, adds and crops: [B, h, w, rows, columns, stride^2 C] -> [B, height, width, C]."""
    rows, columns = terms.shape[3:5]
    values = upcast(terms)
    blocks = tf.add_n(
        [
            tf.pad(values[..., i, j, :], [[0, 0], [i, rows - 1 - i], [j, columns - 1 - j], [0, 0]])
            for i in range(rows)
            for j in range(columns)
        ]
    )
    whole = tf.nn.depth_to_space(blocks, stride)
    return tf.cast(whole[:, top : top + height, left : left + width], terms.dtype)
