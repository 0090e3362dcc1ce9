"""A bias and LeakyReLU in one XLA cluster, in bfloat16."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.kernels.selection import in_use_for, upcast


def supports(values: tf.Tensor, activation: object) -> bool:
    """Whether `leaky_relu` is in use and can replace a bias and this activation of `values`."""
    return (
        in_use_for("fused_activation", values)
        and values.dtype == tf.bfloat16
        and isinstance(activation, keras.layers.LeakyReLU)
    )


def leaky_relu(values: tf.Tensor, bias: tf.Tensor, negative_slope: float) -> tf.Tensor:
    """LeakyReLU of values [..., C] + bias [C]; negative_slope must be above 0."""

    @tf.custom_gradient
    def forward(values: tf.Tensor, bias: tf.Tensor):
        stopped = tf.stop_gradient(values), tf.stop_gradient(bias)
        outputs = _activated(*stopped, negative_slope)

        def gradient(upstream: tf.Tensor):
            passed = _passed(upstream, outputs, negative_slope)
            # Outside the cluster: XLA is several times as slow at a sum over rows.
            return passed, tf.reduce_sum(passed, [*range(values.shape.rank - 1)])

        return outputs, gradient

    return forward(values, bias)


@tf.function(jit_compile=True, autograph=False)
def _activated(values, bias, negative_slope) -> tf.Tensor:
    total = upcast(values) + upcast(bias)
    return tf.cast(tf.where(total > 0, total, total * negative_slope), values.dtype)


@tf.function(jit_compile=True, autograph=False)
def _passed(upstream, outputs, negative_slope) -> tf.Tensor:
    """The inputs' gradient; the outputs have the same signs as the inputs."""
    values = upcast(upstream)
    return tf.cast(tf.where(outputs > 0, values, values * negative_slope), upstream.dtype)
