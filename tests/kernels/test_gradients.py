from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from support.kernels import compare_in_bfloat16, normal

from trainer.kernels import selection
from trainer.kernels.gradients import conv2d_transpose, supports
from trainer.models import layers

SIZES = [
    *(
        (4, (2, 2), 7, 7),
        (3, (2, 2), 5, 4),
        (5, (2, 2), 4, 7),
        (2, (3, 3), 3, 3),
        (1, (2, 2), 3, 4),
    ),
    *((4, (2, 1), 3, 4), (5, (1, 3), 4, 3), (3, (1, 1), 5, 4)),
]


@pytest.mark.parametrize(("extent", "strides", "height", "width"), SIZES)
def test_the_gradients_are_the_plain_operations(extent, strides, height, width):
    inputs, kernel = normal(3, height, width, 6), normal(extent, extent, 5, 6)
    size = [3, height * strides[0], width * strides[1], 5]

    def derivatives(function):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = function()
            total = tf.reduce_sum(tf.sin(outputs))
        return outputs, *tape.gradient(total, [inputs, kernel])

    expected = derivatives(
        lambda: tf.nn.conv2d_transpose(inputs, kernel, size, strides, padding="SAME")
    )
    ours = derivatives(lambda: conv2d_transpose(inputs, kernel, strides))
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_what_dilated_gradients_supports():
    inputs = tf.zeros([2, 3, 3, 8], tf.bfloat16)
    assert not supports(inputs, (2, 2))
    with selection.using(["dilated_gradients"]):
        assert supports(inputs, (2, 2))
        assert not supports(inputs, (1, 1))
        assert not supports(tf.zeros([2, 3, 3, 8]), (2, 2))


@pytest.mark.parametrize("use_bias", [True, False])
def test_the_layer_uses_them(use_bias):
    settings = {"activation": layers.leaky_relu(), "use_bias": use_bias}
    layer = layers.Conv2DTranspose(8, 4, strides=2, dtype="mixed_bfloat16", **settings)
    images = tf.cast(normal(16, 7, 7, 6), tf.bfloat16)
    layer.build(images.shape)

    def gradients():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.square(layer(images)))
        return tape.gradient(total, [weight.value for weight in layer.trainable_weights])

    compare_in_bfloat16("dilated_gradients", gradients, "Conv2DBackpropFilter")
