from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.kernels import compare_in_bfloat16, derivatives, normal

from trainer.kernels import selection
from trainer.kernels.activation import leaky_relu, supports
from trainer.models import layers


def test_it_is_the_plain_operations_with_derivatives_of_second_order():
    values, bias = normal(3, 4, 5, 6), normal(6)
    expected = derivatives(lambda x, b: tf.nn.leaky_relu(x + b, 0.25), values, bias)
    ours = derivatives(functools.partial(leaky_relu, negative_slope=0.25), values, bias)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_what_fused_activation_supports():
    values = tf.zeros([2, 3], tf.bfloat16)
    assert not supports(values, layers.leaky_relu())
    with selection.using(["fused_activation"]):
        assert supports(values, layers.leaky_relu())
        assert not supports(values, keras.activations.tanh)
        assert not supports(tf.zeros([2, 3]), layers.leaky_relu())


@pytest.mark.parametrize("make", [layers.Conv2D, layers.Conv2DTranspose, layers.Dense])
def test_layers_use_it(make):
    size = {} if make is layers.Dense else {"kernel_size": 3}
    layer = make(8, activation=layers.leaky_relu(), dtype="mixed_bfloat16", **size)
    inputs = tf.cast(normal(4, 6, 6, 5), tf.bfloat16)
    layer.build(inputs.shape)
    layer.bias.assign(tf.range(-4.0, 4.0) / 4)

    def gradients():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.square(tf.cast(layer(inputs), tf.float32)))
        return total, *tape.gradient(total, [weight.value for weight in layer.trainable_weights])

    compare_in_bfloat16("fused_activation", gradients, "LeakyRelu")
