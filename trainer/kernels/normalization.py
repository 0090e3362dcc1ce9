"""Batch normalisation by TensorFlow's fused operations, over one replica or several."""

from __future__ import annotations

import tensorflow as tf

from trainer.kernels.selection import in_use_on


def takes(inputs: tf.Tensor) -> bool:
    """Whether the functions below are meant for a layer of these inputs, or else Keras's own."""
    known = in_use_on("fused_normalization", inputs)
    return known and inputs.dtype in (tf.float32, tf.bfloat16)


def normalize(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    epsilon: float,
    moments: tuple[tf.Tensor, tf.Tensor] | None = None,
    *,
    synchronized: bool = True,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Batch normalisation (Ioffe and Szegedy, 2015).

    Args:
      inputs: [B, ..., C].
      scale: float32 [C].
      offset: float32 [C].
      epsilon: Added to the variance.
      moments: Mean and variance, float32 [C]; None to take them of the inputs.
      synchronized: Whether those are over all replicas, which have B examples each.

    Returns:
      Like the inputs, and the mean and the variance that were used, float32 [C].
    """
    values = tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]])
    context = tf.distribute.get_replica_context()
    if moments is None and synchronized and context and context.num_replicas_in_sync > 1:
        outputs, *moments = _synchronized_norm(values, scale, offset, epsilon, context)
    else:
        outputs, *moments = _batch_norm(values, scale, offset, epsilon, moments)
    return tf.reshape(outputs, inputs.shape), *moments


def _batch_norm(values, scale, offset, epsilon, moments=None):
    """Outputs, mean and variance of [N, 1, 1, C]."""
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=values,
        scale=scale,
        offset=offset,
        mean=moments[0] if moments else [],
        variance=moments[1] if moments else [],
        epsilon=epsilon,
        is_training=moments is None,
    )
    if moments:
        return outputs, *moments
    count = values.shape[0]  # the operation's variance is that of a sample
    return outputs, mean, variance * ((count - 1) / count)


def _synchronized_norm(values, scale, offset, epsilon, context):
    def mean_over_replicas(*vectors: tf.Tensor) -> list[tf.Tensor]:
        joined = context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.concat(vectors, 0))
        return tf.split(joined, len(vectors))

    @tf.custom_gradient
    def forward(values, scale, offset):
        _, mean, variance = _batch_norm(values, scale, offset, epsilon)
        mean, square = mean_over_replicas(mean, variance + tf.square(mean))
        variance = tf.maximum(square - tf.square(mean), 0.0)
        outputs, *_ = _batch_norm(values, scale, offset, epsilon, (mean, variance))

        def gradient(upstream, *_):
            partial, of_scale, of_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=values,
                scale=scale,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=[],
                epsilon=epsilon,
                is_training=False,
            )
            # Through the moments: each is a mean over all replicas' values.
            tilt, shift = mean_over_replicas(of_scale, of_offset)
            factor = tf.math.rsqrt(variance + epsilon)
            slope = -scale * factor * factor * tilt / values.shape[0]
            level = -scale * factor * shift / values.shape[0] - slope * mean
            through = values * tf.cast(slope, values.dtype) + tf.cast(level, values.dtype)
            return partial + through, of_scale, of_offset

        return (outputs, mean, variance), gradient

    return forward(values, scale, offset)
