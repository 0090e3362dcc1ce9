"""GAN losses: pure functions from logits to one loss an example.

A `GanLoss` holds the two halves. Both return [B], not yet averaged: the trainer divides by the
global batch, so that the answer does not depend on how many replicas share it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from trainer import rng


class GanLoss(NamedTuple):
    """The two networks' losses; logits are [B, 1], positive for 'real'."""

    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    """(real_logits, fake_logits) -> [B]."""
    generator: Callable[[tf.Tensor | None, tf.Tensor], tf.Tensor]
    """(real_logits, fake_logits) -> [B]; real_logits are None unless `relativistic`."""
    relativistic: bool = False
    """Whether the generator's loss looks at real images too."""


def _cross_entropy(logits: tf.Tensor, labels: float | tf.Tensor) -> tf.Tensor:
    labels = tf.broadcast_to(tf.cast(labels, logits.dtype), tf.shape(logits))
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)[:, 0]


def binary_cross_entropy(
    *, real_label: float = 1.0, fake_label: float = 0.0, flip_probability: float = 0.0
) -> GanLoss:
    """The tutorial's loss: Keras's binary cross-entropy on one mixed batch of both kinds.

    Keras averages over the 2B images of the mixed batch, hence the half. The generator's images
    are labelled 1: the non-saturating loss of Goodfellow et al., "Generative Adversarial
    Networks" (2014), section 3. The tutorial ends its network in a sigmoid and takes the
    cross-entropy of that; from logits it is the same number, without the clipping.

    Args:
      real_label: Target for real images when training the discriminator, in [0, 1].
      fake_label: Target for generated images when training the discriminator, in [0, 1].
      flip_probability: Of each image's two labels changing places when training the
        discriminator, in [0, 1); drawn from the enclosing `trainer.rng.key_scope`.
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        fake_target, real_target = fake_label, real_label
        if flip_probability:
            keys = rng.next_keys("label flips")  # of the mixed batch: fakes, then reals
            flip = rng.uniform(keys, [1]) < flip_probability
            fake_flip, real_flip = tf.split(flip, 2)
            fake_target = tf.where(fake_flip, real_label, fake_label)
            real_target = tf.where(real_flip, fake_label, real_label)
        real = _cross_entropy(real_logits, real_target)
        return 0.5 * (real + _cross_entropy(fake_logits, fake_target))

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return _cross_entropy(fake_logits, 1.0)

    return GanLoss(discriminator, generator)


def minimax() -> GanLoss:
    """The saturating loss of Goodfellow et al. (2014), equation 1: G minimises log(1 - D(G(z)))."""

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return -tf.nn.softplus(fake_logits)[:, 0]

    return GanLoss(binary_cross_entropy().discriminator, generator)


def least_squares() -> GanLoss:
    """LSGAN with targets 0 and 1 (Mao et al., 2017, equation 9)."""

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return 0.5 * (tf.square(real_logits - 1) + tf.square(fake_logits))[:, 0]

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return 0.5 * tf.square(fake_logits - 1)[:, 0]

    return GanLoss(discriminator, generator)


def wasserstein() -> GanLoss:
    """The critic's difference (Arjovsky et al., 2017); wants a gradient penalty beside it."""

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return (fake_logits - real_logits)[:, 0]

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return -fake_logits[:, 0]

    return GanLoss(discriminator, generator)


def hinge() -> GanLoss:
    """Lim and Ye, "Geometric GAN" (2017); Miyato et al. (2018), equations 16 and 17."""

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return (tf.nn.relu(1 - real_logits) + tf.nn.relu(1 + fake_logits))[:, 0]

    return GanLoss(discriminator, wasserstein().generator)


def relativistic_paired() -> GanLoss:
    """RpGAN (Jolicoeur-Martineau, 2018), each fake against one real image, as in R3GAN (2024)."""

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.softplus(fake_logits - real_logits)[:, 0]

    def generator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.softplus(real_logits - fake_logits)[:, 0]

    return GanLoss(discriminator, generator, relativistic=True)


def auxiliary(class_logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The auxiliary classifier's cross-entropy (Odena et al., 2017, equation 3).

    Args:
      class_logits: [B, K].
      labels: int32 [B] in [0, K).

    Returns:
      [B].
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=class_logits)
