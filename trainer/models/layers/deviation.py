"""Minibatch standard deviation."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.errors import TrainerError


@keras.saving.register_keras_serializable(package="trainer")
class MinibatchDeviation(keras.layers.Layer):
    """Minibatch standard deviation (Karras et al., 2018, section 3).

    It maps [B, ..., C] to [B, ..., C + 1]. The new channel is the standard deviation of each
    feature over a group of examples, averaged over all features. Neighbours in the batch form a
    group, as in StyleGAN2, so that a group does not mix real and fake examples, and does not depend
    on the number of replicas.

    Args:
      group_size: Number of examples in a group, at least 2; it must divide each replica's batch.

    Raises:
      TrainerError: when called, if the group size does not divide the batch.
    """

    def __init__(self, group_size: int = 4, **kwargs) -> None:
        super().__init__(**kwargs)
        self.group_size = group_size

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        batch, *place = inputs.shape
        if batch is None:  # Keras builds a model
            return tf.concat([inputs, inputs[..., :1]], axis=-1)
        if self.group_size < 2 or batch % self.group_size:
            raise TrainerError(
                f"MinibatchDeviation.group_size={self.group_size} must be at least 2 and divide a "
                f"replica's batch, {batch} here; change group_size or batch_size"
            )
        groups = tf.reshape(inputs, [-1, self.group_size, *place])
        # The root's gradient is infinite at 0, where all examples of a group are equal.
        deviation = tf.sqrt(tf.math.reduce_variance(groups, axis=1) + 1e-8)
        mean = tf.reduce_mean(deviation, axis=[*range(1, len(place) + 1)])
        shape = [batch, *place[:-1], 1]
        channel = tf.reshape(tf.repeat(mean, self.group_size), [-1, *[1] * len(place)])
        return tf.concat([inputs, tf.broadcast_to(channel, shape)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self) -> dict:
        return {**super().get_config(), "group_size": self.group_size}
