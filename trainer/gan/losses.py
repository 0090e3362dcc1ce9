"""GAN losses: pure functions of logits that return one value per example.

A `GanLoss` holds the losses of both networks. Each returns [B], without averaging: the trainer
divides by the size of the global batch, so that the number of replicas makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from trainer import rng
from trainer.config.registry import configurable


class GanLoss(NamedTuple):
    """The losses of both networks; logits are [B, 1], positive for "real"."""

    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    """(real_logits, fake_logits) -> [B]."""
    generator: Callable[[tf.Tensor | None, tf.Tensor], tf.Tensor]
    """(real_logits, fake_logits) -> [B]; real_logits are None unless `relativistic`."""
    relativistic: bool = False
    """Whether the generator's loss needs the logits of real images too."""


def _cross_entropy(logits: tf.Tensor, labels: float | tf.Tensor) -> tf.Tensor:
    labels = tf.broadcast_to(tf.cast(labels, logits.dtype), tf.shape(logits))
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)[:, 0]


@configurable
def binary_cross_entropy(
    *, real_label: float = 1.0, fake_label: float = 0.0, flip_probability: float = 0.0
) -> GanLoss:
    """The tutorial's loss: binary cross-entropy on a mixed batch of generated and real images.

    The discriminator's loss is halved, because the tutorial averages over the 2B images of the
    mixed batch. The generator is trained towards the label 1: the non-saturating loss of Goodfellow
    et al., "Generative Adversarial Networks" (2014), section 3. The tutorial's network ends in a
    sigmoid; the cross-entropy from logits is the same number, without Keras's clipping.

    Args:
      real_label: Target for real images when training the discriminator, in [0, 1].
      fake_label: Target for generated images when training the discriminator, in [0, 1].
      flip_probability: Probability, in [0, 1), that an image gets the other kind's target when
        training the discriminator. If above 0, call the loss within a `trainer.rng.key_scope` of 2B
        keys, of the fakes and then the reals.
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        fake_target, real_target = fake_label, real_label
        if flip_probability:
            keys = rng.next_keys("label flips")  # fakes, then reals
            flip = rng.uniform(keys, [1]) < flip_probability
            fake_flip, real_flip = tf.split(flip, 2)
            fake_target = tf.where(fake_flip, real_label, fake_label)
            real_target = tf.where(real_flip, fake_label, real_label)
        real = _cross_entropy(real_logits, real_target)
        return 0.5 * (real + _cross_entropy(fake_logits, fake_target))

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return _cross_entropy(fake_logits, 1.0)

    return GanLoss(discriminator, generator)


@configurable
def minimax() -> GanLoss:
    """The saturating loss (Goodfellow et al., 2014, equation 1): G minimises log(1 - D(G(z)))."""

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return -tf.nn.softplus(fake_logits)[:, 0]

    return GanLoss(binary_cross_entropy().discriminator, generator)


@configurable
def least_squares() -> GanLoss:
    """The LSGAN loss with targets 0 and 1 (Mao et al., 2017, equation 9)."""

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return 0.5 * (tf.square(real_logits - 1) + tf.square(fake_logits))[:, 0]

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return 0.5 * tf.square(fake_logits - 1)[:, 0]

    return GanLoss(discriminator, generator)


@configurable
def wasserstein() -> GanLoss:
    """The Wasserstein loss (Arjovsky et al., 2017, algorithm 1); combine it with a penalty.

    Without one, such as `trainer.gan.penalties.gradient_penalty`, nothing bounds the critic.
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return (fake_logits - real_logits)[:, 0]

    def generator(real_logits: None, fake_logits: tf.Tensor) -> tf.Tensor:
        return -fake_logits[:, 0]

    return GanLoss(discriminator, generator)


@configurable
def hinge() -> GanLoss:
    """The hinge loss (Lim and Ye, "Geometric GAN", 2017; Miyato et al., 2018, equations 16, 17)."""

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return (tf.nn.relu(1 - real_logits) + tf.nn.relu(1 + fake_logits))[:, 0]

    return GanLoss(discriminator, wasserstein().generator)


@configurable
def relativistic_paired() -> GanLoss:
    """The RpGAN loss (Jolicoeur-Martineau, 2018; Huang et al., "R3GAN", 2024).

    It compares each generated image with one real image.
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.softplus(fake_logits - real_logits)[:, 0]

    def generator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.softplus(real_logits - fake_logits)[:, 0]

    return GanLoss(discriminator, generator, relativistic=True)


def auxiliary(class_logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the auxiliary classifier (Odena et al., 2017, equation 3).

    Args:
      class_logits: [B, K].
      labels: int32 [B] in [0, K).

    Returns:
      [B].
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=class_logits)
