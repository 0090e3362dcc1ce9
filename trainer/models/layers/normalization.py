"""Batch normalisation over all replicas, also with a scale and an offset for each class."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.kernels import normalization


@keras.saving.register_keras_serializable(package="trainer")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation of the last axis, with a faster kernel.

    If `synchronized`, its statistics are those of the global batch, otherwise of each replica's.

    Raises:
      ValueError: for another axis or renormalisation; use Keras's own layer for these.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if self.axis != -1 or getattr(self, "renorm", False):
            raise ValueError(
                f"layers.BatchNormalization normalises the last axis, not axis={self.axis}, and "
                "without renorm; use keras.layers.BatchNormalization"
            )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not normalization.supports(inputs):
            return super().call(inputs, training=training)
        channels = inputs.shape[-1]
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        moving = [self.moving_mean, self.moving_variance]
        given = None if training else tuple(tf.convert_to_tensor(v) for v in moving)
        outputs, *moments = normalization.normalize(
            inputs, gamma, beta, self.epsilon, given, synchronized=self.synchronized
        )
        if training:
            for variable, moment in zip(moving, moments, strict=True):
                variable.assign(variable * self.momentum + moment * (1 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(package="trainer")
class ConditionalBatchNormalization(keras.layers.Layer):
    """Batch normalisation with a scale and an offset for each class (de Vries et al., 2017).

    It is called with inputs [B, H, W, C] and labels int32 [B], and returns [B, H, W, C].

    Args:
      num_classes: Number of classes; labels are in [0, num_classes).
      synchronized: Whether statistics are those of the global batch, or of each replica's.
    """

    def __init__(self, num_classes: int, synchronized: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.synchronized = synchronized

    def build(self, inputs_shape, labels_shape) -> None:
        channels = inputs_shape[-1]
        self.norm = BatchNormalization(center=False, scale=False, synchronized=self.synchronized)
        self.norm.build(inputs_shape)
        self.scale = keras.layers.Embedding(self.num_classes, channels, "ones")
        self.offset = keras.layers.Embedding(self.num_classes, channels, "zeros")
        self.scale.build(None)
        self.offset.build(None)

    def call(self, inputs: tf.Tensor, labels: tf.Tensor, training: bool = False) -> tf.Tensor:
        scale, offset = (
            embedding(labels)[:, tf.newaxis, tf.newaxis] for embedding in (self.scale, self.offset)
        )
        return self.norm(inputs, training=training) * scale + offset

    def compute_output_shape(self, inputs_shape, labels_shape):
        return inputs_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "synchronized": self.synchronized,
        }
