"""Penalties on the discriminator's gradient with respect to its images: one term an example.

A penalty is a function (judged) -> [B] of what the discriminator has just judged. It takes each
example's own gradient, so the discriminator should not mix its examples; one with minibatch
statistics is penalised for the gradient of its group's logits, as in StyleGAN2 (2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from trainer import rng
from trainer.gan import schedules
from trainer.gan.schedules import Value


@dataclass(frozen=True)
class PenaltyInputs:
    """A batch that the discriminator has judged."""

    real: tf.Tensor
    """[B, H, W, C] in [-1, 1]."""
    fake: tf.Tensor
    """[B, H, W, C] in [-1, 1]."""
    gradients: Callable[[], tuple[tf.Tensor, tf.Tensor]]
    """Those of each logit with respect to its own image, real and fake: [B, H, W, C] each."""
    critic: Callable[[tf.Tensor], tf.Tensor]
    """Judges other images [B, H, W, C] in the real ones' place -> logits [B, 1]; callable once,
    within a `trainer.rng.key_scope` of B keys."""
    step: tf.Tensor
    """int64 scalar, from 0."""


Penalty = Callable[[PenaltyInputs], tf.Tensor]


def r1(*, gamma: Value = 1.0) -> Penalty:
    """gamma/2 |grad D|^2 at real images (Mescheder et al., 2018, equation 9).

    Args:
      gamma: At least 0, or a schedule.
    """
    return lambda judged: _zero_centred(judged.gradients()[0], gamma, judged.step)


def r2(*, gamma: Value = 1.0) -> Penalty:
    """gamma/2 |grad D|^2 at generated images (Mescheder et al., 2018, equation 10).

    Args:
      gamma: At least 0, or a schedule.
    """
    return lambda judged: _zero_centred(judged.gradients()[1], gamma, judged.step)


def gradient_penalty(*, weight: Value = 10.0) -> Penalty:
    """weight (|grad D| - 1)^2 between a real and a generated image (Gulrajani et al., 2017).

    Args:
      weight: At least 0, or a schedule.
    """

    def penalty(judged: PenaltyInputs) -> tf.Tensor:
        real, fake = judged.real, judged.fake
        place = rng.uniform(rng.next_keys("gradient penalty"), [1, 1, 1], real.dtype)
        images = real + place * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = judged.critic(images)
        squared = _squared_norm(tape.gradient(logits, images))
        # The root's own gradient is infinite at zero, where a new or dead critic may be.
        excess = tf.sqrt(squared + 1e-12) - 1
        return schedules.at(weight, judged.step, real.dtype) * tf.square(excess)

    return penalty


def _zero_centred(gradients: tf.Tensor, gamma: Value, step: tf.Tensor) -> tf.Tensor:
    return schedules.at(gamma, step, gradients.dtype) / 2 * _squared_norm(gradients)


def _squared_norm(gradients: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3])
