"""Penalties on the discriminator's gradient with respect to its images: one term an example.

A penalty is a function (critic, real, fake) -> [B], where critic is the discriminator, images
[B, H, W, C] -> logits [B, 1], and is called once, within a `trainer.random.key_scope` of B keys.
It takes each example's own gradient, so the critic's batch must not mix its examples.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from trainer import random

Critic = Callable[[tf.Tensor], tf.Tensor]
Penalty = Callable[[Critic, tf.Tensor, tf.Tensor], tf.Tensor]


def r1(*, gamma: float = 1.0) -> Penalty:
    """gamma/2 |grad D|^2 at real images (Mescheder et al., 2018, equation 9)."""
    return lambda critic, real, fake: gamma / 2 * _squared_norm(critic, real)


def r2(*, gamma: float = 1.0) -> Penalty:
    """gamma/2 |grad D|^2 at generated images (Mescheder et al., 2018, equation 10)."""
    return lambda critic, real, fake: gamma / 2 * _squared_norm(critic, fake)


def gradient_penalty(*, weight: float = 10.0) -> Penalty:
    """weight (|grad D| - 1)^2 between a real and a generated image (Gulrajani et al., 2017)."""

    def penalty(critic: Critic, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        place = random.uniform(random.next_keys("gradient penalty"), [1, 1, 1], real.dtype)
        squared = _squared_norm(critic, real + place * (fake - real))
        # The root's own gradient is infinite at zero, where a new or dead critic may be.
        return weight * tf.square(tf.sqrt(squared + 1e-12) - 1)

    return penalty


def _squared_norm(critic: Critic, images: tf.Tensor) -> tf.Tensor:
    """[B]: the squared norm of the gradient of each logit with respect to its own image."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = critic(images)
    return tf.reduce_sum(tf.square(tape.gradient(logits, images)), axis=[1, 2, 3])
