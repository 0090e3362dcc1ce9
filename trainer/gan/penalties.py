"""Penalties on the discriminator's gradient with respect to its images, one value per example.

A penalty is a function of `PenaltyInputs` that returns [B], without averaging. It takes the
gradient of each logit with respect to its own image. In a discriminator with minibatch statistics,
that gradient also includes the logits of the image's group, as in StyleGAN2 (2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from trainer import rng
from trainer.config.registry import configurable
from trainer.gan import schedules
from trainer.gan.schedules import Value


@dataclass(frozen=True)
class PenaltyInputs:
    """The batch of one update of the discriminator."""

    real: tf.Tensor
    """Real images [B, H, W, C] in [-1, 1]."""
    fake: tf.Tensor
    """Generated images [B, H, W, C] in [-1, 1]."""
    gradients: Callable[[], tuple[tf.Tensor, tf.Tensor]]
    """Returns the gradient of each logit with respect to its own image, before augmentation: of the
    real and of the generated images, [B, H, W, C] each."""
    critic: Callable[[tf.Tensor], tf.Tensor]
    """Images [B, H, W, C], with the real images' labels -> logits [B, 1]. It may be called once,
    within a `trainer.rng.key_scope` of B keys."""
    step: tf.Tensor
    """int64 scalar, the number of steps done."""


Penalty = Callable[[PenaltyInputs], tf.Tensor]


@configurable
def r1(*, gamma: Value = 1.0) -> Penalty:
    """The R1 penalty, gamma/2 |grad D|^2 at real images (Mescheder et al., 2018, equation 9).

    Args:
      gamma: Weight, at least 0, or a schedule.
    """
    return lambda inputs: _zero_centred(inputs.gradients()[0], gamma, inputs.step)


@configurable
def r2(*, gamma: Value = 1.0) -> Penalty:
    """The R2 penalty, gamma/2 |grad D|^2 at generated images (Mescheder et al., 2018, equation 10).

    Args:
      gamma: Weight, at least 0, or a schedule.
    """
    return lambda inputs: _zero_centred(inputs.gradients()[1], gamma, inputs.step)


@configurable
def gradient_penalty(*, weight: Value = 10.0) -> Penalty:
    """weight (|grad D| - 1)^2 at a point between a real and a generated image (WGAN-GP).

    The point is drawn uniformly from the line between both (Gulrajani et al., 2017, equation 3).

    Args:
      weight: At least 0, or a schedule.
    """

    def penalty(inputs: PenaltyInputs) -> tf.Tensor:
        real, fake = inputs.real, inputs.fake
        position = rng.uniform(rng.next_keys("gradient penalty"), [1, 1, 1], real.dtype)
        images = real + position * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = inputs.critic(images)
        squared = _squared_norm(tape.gradient(logits, images))
        # The root's gradient is infinite at 0, which a new or dead critic may return.
        excess = tf.sqrt(squared + 1e-12) - 1
        return schedules.at(weight, inputs.step, real.dtype) * tf.square(excess)

    return penalty


def _zero_centred(gradients: tf.Tensor, gamma: Value, step: tf.Tensor) -> tf.Tensor:
    return schedules.at(gamma, step, gradients.dtype) / 2 * _squared_norm(gradients)


def _squared_norm(gradients: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3])
