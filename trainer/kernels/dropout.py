"""LeakyReLU and dropout in one XLA cluster."""

from __future__ import annotations

import tensorflow as tf

from trainer import rng
from trainer.kernels.selection import in_use, upcast


def drop(inputs: tf.Tensor, keys: tf.Tensor, threshold: int, negative_slope: float) -> tf.Tensor:
    """LeakyReLU, then dropout: [B, ...] -> [B, ...].

    Args:
      inputs: Any floating dtype.
      keys: uint32 [B, 3] of `trainer.rng`.
      threshold: In [0, 2**16); an element is dropped with probability threshold / 2**16.
      negative_slope: Slope of the LeakyReLU, above 0; 1 for no LeakyReLU.
    """
    scale = 1 / (1 - threshold / 2**16)
    if not in_use("fused_dropout"):
        if negative_slope != 1:
            inputs = tf.nn.leaky_relu(inputs, negative_slope)
        keep = rng.keep_mask(keys, inputs.shape[1:], threshold)
        return tf.where(keep, inputs * tf.constant(scale, inputs.dtype), 0)

    @tf.custom_gradient
    def fused(inputs: tf.Tensor):
        outputs = _dropped(tf.stop_gradient(inputs), keys, threshold, negative_slope, scale)
        return outputs, lambda upstream: _passed(upstream, outputs, negative_slope, scale)

    return fused(inputs)


@tf.function(jit_compile=True, autograph=False)
def _dropped(inputs, keys, threshold, negative_slope, scale) -> tf.Tensor:
    """The outputs. A zero is -0.0 where an input is 0, and +0.0 where an input was dropped."""
    values = upcast(inputs)
    above, below = _scales(negative_slope, scale, values.dtype)
    kept = tf.abs(values) * tf.where(values > 0, above, -below)
    keep = rng.keep_mask(keys, inputs.shape[1:], threshold)
    return tf.cast(tf.where(keep, kept, 0), inputs.dtype)


@tf.function(jit_compile=True, autograph=False)
def _passed(upstream, outputs, negative_slope, scale) -> tf.Tensor:
    """The inputs' gradient, by the outputs' sign bits: see `_dropped`."""
    values = upcast(upstream)
    above, below = _scales(negative_slope, scale, values.dtype)
    signs = tf.bitcast(outputs, {2: tf.int16, 4: tf.int32, 8: tf.int64}[outputs.dtype.size])
    factor = tf.where(signs > 0, above, tf.where(signs < 0, below, 0))
    return tf.cast(values * factor, upstream.dtype)


def _scales(negative_slope: float, scale: float, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """The factors of kept elements above 0 and below 0."""
    # TensorFlow's LeakyRelu keeps its slope in float32, whatever the inputs' dtype.
    slope = tf.cast(tf.constant(negative_slope, tf.float32), dtype)
    return tf.constant(scale, dtype), slope * tf.constant(scale, dtype)
