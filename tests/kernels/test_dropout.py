from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from support.kernels import compare, normal

from trainer import rng
from trainer.kernels import selection
from trainer.kernels.dropout import drop


@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_fused_dropout(slope):
    keys = rng.example_keys(0, "test", 0, tf.range(6))
    function = functools.partial(drop, keys=keys, threshold=26_214, negative_slope=slope)
    inputs = normal(6, 5, 4, 3)
    compare(["fused_dropout"], function, inputs)
    compare(["fused_dropout"], function, tf.where(inputs > 0.5, inputs, 0))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dropped_elements_and_zeros_are_told_apart(dtype):
    keys = rng.example_keys(0, "test", 0, tf.range(6))
    zeros = tf.zeros([6, 1000], dtype)
    with selection.using(["fused_dropout"]), tf.GradientTape() as tape:
        tape.watch(zeros)
        outputs = drop(zeros, keys, 2**15, 0.25)
    gradient = tape.gradient(outputs, zeros)
    np.testing.assert_array_equal(outputs, zeros)
    keep = rng.keep_mask(keys, [1000], 2**15)
    np.testing.assert_array_equal(gradient, tf.where(keep, tf.constant(0.5, dtype), 0))
