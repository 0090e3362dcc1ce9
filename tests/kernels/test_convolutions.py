from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from test_kernels import compare, normal

from trainer import kernels
from trainer.kernels import convolutions
from trainer.models import layers

SIZES = [(4, 2, 14, 14), (5, 2, 14, 14), (3, 2, 7, 8), (3, 3, 5, 4), (2, 2, 3, 3), (1, 2, 4, 4)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("extent", "stride", "height", "width"), SIZES)
def test_matmul_convolutions(channels, extent, stride, height, width):
    kernel = normal(extent, extent, channels, 6)
    size = [2, height * stride, width * stride, channels]

    def transpose(inputs, kernel):
        ours = convolutions.conv2d_transpose(inputs, kernel, (stride, stride))
        plain = tf.nn.conv2d_transpose(inputs, kernel, size, stride, "SAME")
        return plain if ours is None else ours

    def convolution(inputs, kernel):
        ours = convolutions.conv2d(inputs, kernel, (stride, stride))
        return tf.nn.conv2d(inputs, kernel, stride, "SAME") if ours is None else ours

    compare(["matmul_convolutions"], transpose, normal(2, height, width, 6), kernel)
    compare(["matmul_convolutions"], convolution, normal(*size), kernel)


def test_what_matmul_convolutions_leaves_to_keras():
    few, many = normal(3, 3, 1, 8), normal(3, 3, 8, 8)
    image, feature_map = normal(2, 6, 6, 1), normal(2, 6, 6, 8)
    assert convolutions.conv2d(image, few, (2, 2)) is None
    with kernels.using(["matmul_convolutions"]):
        assert convolutions.conv2d(image, few, (2, 2)).shape == (2, 3, 3, 8)
        assert convolutions.conv2d(image, few, (1, 1)) is None
        assert convolutions.conv2d(feature_map, many, (2, 2)) is None
        assert convolutions.conv2d_transpose(feature_map, many, (2, 2)) is None


@pytest.mark.parametrize("build", [layers.Conv2D, layers.Conv2DTranspose])
def test_layers_use_them(build):
    layer = build(1 if build is layers.Conv2DTranspose else 8, 5, strides=2, activation="tanh")
    images = tf.cast(normal(2, 8, 8, 8 if build is layers.Conv2DTranspose else 1), tf.float32)
    expected = layer(images)
    layer.bias.assign(layer.bias + 0.5)
    with kernels.using(["matmul_convolutions"]):
        moved = layer(images)
    np.testing.assert_allclose(np.arctanh(moved), np.arctanh(expected) + 0.5, rtol=1e-4, atol=1e-5)
