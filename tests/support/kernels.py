"""Comparing a kernel with the plain operations."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.kernels import selection


def normal(*shape):
    """float64 normal numbers, the same in every call."""
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
    """Asserts that the kernels `names` change no derivative of `function`, up to second order."""
    function = tf.function(function)
    expected = derivatives(function, *arguments)
    with selection.using(names):
        ours = derivatives(tf.function(function.python_function), *arguments)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def compare_in_bfloat16(name, function, operation):
    """Asserts that a kernel replaces `operation`, and moves results by two last places at most."""
    results = []
    for names in ([], [name]):
        with selection.using(names):
            traced = tf.function(function).get_concrete_function()
        kinds = {node.type for node in traced.graph.get_operations()}
        assert (operation in kinds) == (not names)
        results.append(traced())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2**-7 * np.abs(b).max())
