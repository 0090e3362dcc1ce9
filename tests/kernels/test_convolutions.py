from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from support.kernels import compare, normal

from trainer.kernels import selection
from trainer.kernels.convolutions import conv2d, conv2d_transpose, supports
from trainer.models import layers

SIZES = [(4, 2, 14, 14), (5, 2, 14, 14), (3, 2, 7, 8), (3, 3, 5, 4), (2, 2, 3, 3), (1, 2, 4, 4)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("extent", "stride", "height", "width"), SIZES)
def test_matmul_convolutions(channels, extent, stride, height, width):
    kernel = normal(extent, extent, channels, 6)
    size = [2, height * stride, width * stride, channels]
    strides = (stride, stride)

    def transpose(inputs, kernel):
        if supports(channels, inputs, strides):
            return conv2d_transpose(inputs, kernel, strides)
        return tf.nn.conv2d_transpose(inputs, kernel, size, stride, "SAME")

    def convolution(inputs, kernel):
        if supports(channels, inputs, strides):
            return conv2d(inputs, kernel, strides)
        return tf.nn.conv2d(inputs, kernel, stride, "SAME")

    compare(["matmul_convolutions"], transpose, normal(2, height, width, 6), kernel)
    compare(["matmul_convolutions"], convolution, normal(*size), kernel)


def test_what_matmul_convolutions_supports():
    image = normal(2, 6, 6, 1)
    assert not supports(1, image, (2, 2))
    with selection.using(["matmul_convolutions"]):
        assert supports(1, image, (2, 2))
        assert not supports(1, image, (1, 1))
        assert not supports(8, image, (2, 2))


def gradients(layer, images):
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.square(layer(images)))
    return tape.gradient(total, [weight.value for weight in layer.trainable_weights])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("build", [layers.Conv2D, layers.Conv2DTranspose])
def test_gradients_in_less_than_float64(build, dtype):
    layer = build(1 if build is layers.Conv2DTranspose else 8, 5, strides=2, dtype=dtype)
    images = tf.cast(normal(2, 8, 8, 8 if build is layers.Conv2DTranspose else 1), tf.float32)
    expected = gradients(layer, images)
    with selection.using(["matmul_convolutions"]):
        ours = gradients(layer, images)
    for a, b in zip(ours, expected, strict=True):
        tolerance = 1e-5 if dtype == "float32" else 0.02
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("build", [layers.Conv2D, layers.Conv2DTranspose])
def test_layers_use_them(build):
    layer = build(1 if build is layers.Conv2DTranspose else 8, 5, strides=2, activation="tanh")
    images = tf.cast(normal(2, 8, 8, 8 if build is layers.Conv2DTranspose else 1), tf.float32)
    expected = layer(images)
    layer.bias.assign(layer.bias + 0.5)
    with selection.using(["matmul_convolutions"]):
        moved = layer(images)
    np.testing.assert_allclose(np.arctanh(moved), np.arctanh(expected) + 0.5, rtol=1e-4, atol=1e-5)
