"""A bias and LeakyReLU in one XLA cluster, in bfloat16."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.kernels.selection import in_use_on, unwatched, wide


def takes(values: tf.Tensor, activation: object) -> bool:
    """Whether the function below is meant for a layer, or else Keras's own."""
    known = in_use_on("fused_activation", values)
    return known and values.dtype == tf.bfloat16 and isinstance(activation, keras.layers.LeakyReLU)


def leaky_relu(values: tf.Tensor, bias: tf.Tensor, negative_slope: float) -> tf.Tensor:
    """LeakyReLU of [..., C] + [C]; the slope is more than 0."""

    @tf.custom_gradient
    def forward(values: tf.Tensor, bias: tf.Tensor):
        outputs = _activated(unwatched(values), unwatched(bias), negative_slope)

        def gradient(upstream: tf.Tensor):
            passed = _passed(upstream, outputs, negative_slope)
            # Not in the cluster: XLA needs several times as long for a sum over rows.
            return passed, tf.reduce_sum(passed, [*range(values.shape.rank - 1)])

        return outputs, gradient

    return forward(values, bias)


@tf.function(jit_compile=True, autograph=False)
def _activated(values, bias, negative_slope) -> tf.Tensor:
    total = wide(values) + wide(bias)
    return tf.cast(tf.where(total > 0, total, total * negative_slope), values.dtype)


@tf.function(jit_compile=True, autograph=False)
def _passed(upstream, outputs, negative_slope) -> tf.Tensor:
    """The gradient, by the signs of the outputs, which are the inputs'."""
    values = wide(upstream)
    return tf.cast(tf.where(outputs > 0, values, values * negative_slope), upstream.dtype)
