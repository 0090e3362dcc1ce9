"""Batch normalisation by TensorFlow's fused operation, over one replica or several."""

from __future__ import annotations

import tensorflow as tf

from trainer.kernels.selection import in_use_for


def supports(inputs: tf.Tensor) -> bool:
    """Whether `normalize` is in use and can replace Keras's normalisation of these inputs."""
    return in_use_for("fused_normalization", inputs) and inputs.dtype in (tf.float32, tf.bfloat16)


def normalize(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    epsilon: float,
    moments: tuple[tf.Tensor, tf.Tensor] | None = None,
    *,
    synchronized: bool = True,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Batch normalisation (Ioffe and Szegedy, 2015, algorithms 1 and 2).

    Args:
      inputs: [B, ..., C], float32 or bfloat16.
      scale: float32 [C].
      offset: float32 [C].
      epsilon: Added to the variance.
      moments: Mean and variance to normalise by, float32 [C]; None for those of the inputs.
      synchronized: Whether the inputs' moments are taken over all replicas, of B examples each.

    Returns:
      The outputs, shaped like the inputs; the mean and the variance that were used, float32 [C].
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
    count = values.shape[0]  # the operation returns the unbiased variance
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
            partial, scale_gradient, offset_gradient, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=values,
                scale=scale,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=[],
                epsilon=epsilon,
                is_training=False,
            )
            # What the inputs contribute through the moments, which are means over all replicas: a
            # straight line in the inputs.
            scale_mean, offset_mean = mean_over_replicas(scale_gradient, offset_gradient)
            factor = tf.math.rsqrt(variance + epsilon)
            slope = -scale * factor * factor * scale_mean / values.shape[0]
            intercept = -scale * factor * offset_mean / values.shape[0] - slope * mean
            line = values * tf.cast(slope, values.dtype) + tf.cast(intercept, values.dtype)
            return partial + line, scale_gradient, offset_gradient

        return (outputs, mean, variance), gradient

    return forward(values, scale, offset)
