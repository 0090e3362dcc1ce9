"""Every kernel computes what the plain operations do, derivatives of second order included."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from test_gan import make_trainer, relative_error, weights

from trainer import kernels, random
from trainer.errors import TrainerError
from trainer.models import layers


def normal(*shape):
    return tf.random.stateless_normal(shape, [0, 1], dtype=tf.float64)


def derivatives(function, *arguments):
    """A function's value, its gradient, and that of the gradient's squared norm (as in R1)."""
    with tf.GradientTape() as outer:
        outer.watch(arguments)
        with tf.GradientTape() as inner:
            inner.watch(arguments)
            value = function(*arguments)
            total = tf.reduce_sum(tf.sin(value))
        gradients = inner.gradient(total, arguments)
        squared = sum(tf.reduce_sum(tf.square(g)) for g in gradients)
    return [value, *gradients, *outer.gradient(squared, arguments)]


def compare(names, function, *arguments):
    function = tf.function(function)
    expected = derivatives(function, *arguments)
    with kernels.using(names):
        ours = derivatives(tf.function(function.python_function), *arguments)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_fused_dropout(slope):
    keys = random.example_keys(0, "test", 0, tf.range(6))
    drop = functools.partial(kernels.drop, keys=keys, threshold=26_214, negative_slope=slope)
    compare(["fused_dropout"], drop, normal(6, 5, 4, 3))


SIZES = [(4, 2, 14, 14), (5, 2, 14, 14), (3, 2, 7, 8), (3, 3, 5, 4), (2, 2, 3, 3), (1, 2, 4, 4)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("extent", "stride", "height", "width"), SIZES)
def test_matmul_convolutions(channels, extent, stride, height, width):
    kernel = normal(extent, extent, channels, 6)
    size = [2, height * stride, width * stride, channels]

    def transpose(inputs, kernel):
        ours = kernels.conv2d_transpose(inputs, kernel, (stride, stride))
        plain = tf.nn.conv2d_transpose(inputs, kernel, size, stride, "SAME")
        return plain if ours is None else ours

    def convolution(inputs, kernel):
        ours = kernels.conv2d(inputs, kernel, (stride, stride))
        return tf.nn.conv2d(inputs, kernel, stride, "SAME") if ours is None else ours

    compare(["matmul_convolutions"], transpose, normal(2, height, width, 6), kernel)
    compare(["matmul_convolutions"], convolution, normal(*size), kernel)


def test_what_matmul_convolutions_leaves_to_keras():
    few, many = normal(3, 3, 1, 8), normal(3, 3, 8, 8)
    image, feature_map = normal(2, 6, 6, 1), normal(2, 6, 6, 8)
    assert kernels.conv2d(image, few, (2, 2)) is None
    with kernels.using(["matmul_convolutions"]):
        assert kernels.conv2d(image, few, (2, 2)).shape == (2, 3, 3, 8)
        assert kernels.conv2d(image, few, (1, 1)) is None
        assert kernels.conv2d(feature_map, many, (2, 2)) is None
        assert kernels.conv2d_transpose(feature_map, many, (2, 2)) is None


@pytest.mark.parametrize("build", [layers.Conv2D, layers.Conv2DTranspose])
def test_layers_use_them(build):
    layer = build(1 if build is layers.Conv2DTranspose else 8, 5, strides=2, activation="tanh")
    images = tf.cast(normal(2, 8, 8, 8 if build is layers.Conv2DTranspose else 1), tf.float32)
    expected = layer(images)
    layer.bias.assign(layer.bias + 0.5)
    with kernels.using(["matmul_convolutions"]):
        moved = layer(images)
    np.testing.assert_allclose(np.arctanh(moved), np.arctanh(expected) + 0.5, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", [None, ["fused_dropout"], ["xla_step"], [*kernels.KERNELS]])
def test_no_choice_changes_the_training(make_strategy, names):
    plain, fast = (
        make_trainer(make_strategy(1), precision="float64", kernels=k) for k in ([], names)
    )
    expected, metrics = plain.train(3), fast.train(3)
    assert metrics == pytest.approx(expected, rel=1e-9)
    assert relative_error(weights(fast), weights(plain)) < 1e-9


def test_the_default_of_a_cpu(make_strategy):
    assert kernels.choose(None, make_strategy(4)) == ("fused_dropout", "matmul_convolutions")
    assert kernels.choose([], make_strategy(4)) == ()


def test_unknown_and_unfitting_names_are_refused(make_strategy):
    with pytest.raises(TrainerError, match=r"names 'fast'; choose from fused_dropout, .*\[\]"):
        make_trainer(make_strategy(1), kernels=["fast"])
    with pytest.raises(TrainerError, match="takes one replica, not 4; leave it out, or use"):
        make_trainer(make_strategy(4), kernels=["xla_step"])
