"""All that ships, in a few combinations where no part hides another's state or random numbers.

The tests of exact resume and of replica invariance train each of them on 8x8 digits.
"""

from __future__ import annotations

import functools

import numpy as np
import sklearn.datasets

from trainer.gan import augment, losses, optimizers, penalties, replay, schedules
from trainer.gan.trainer import GanConfig, GanTrainer
from trainer.models import conditional, dcgan, residual

_DIGITS = sklearn.datasets.load_digits()
IMAGES = (_DIGITS.images[:500, :, :, np.newaxis] * 255 / 16).astype(np.uint8)
LABELS = _DIGITS.target[:500].astype(np.int32)
DCGAN = {
    "generator": dcgan.generator,
    "discriminator": dcgan.discriminator,
    "loss": losses.binary_cross_entropy,
    "generator_optimizer": optimizers.adam,
    "discriminator_optimizer": optimizers.adam,
    "latent_dim": 50,
    "batch_size": 16,
    "seed": 0,
}
"""The tutorial's GAN: the settings that a combination does not change."""


def make(strategy, *, images=IMAGES, labels=LABELS, num_classes=10, **settings) -> GanTrainer:
    """A GanTrainer with DCGAN's settings except `settings`, on the digits or the given images."""
    config = GanConfig(**(DCGAN | settings))
    return GanTrainer(
        config, strategy=strategy, images=images, labels=labels, num_classes=num_classes
    )


def fading(value):
    """A schedule that warms up for two steps, then halves the value in four."""
    return schedules.Cosine(first=value, last=value / 2, steps=4, warm_up_steps=2)


COMBINATIONS = {
    "everything without labels": {
        "generator": functools.partial(dcgan.generator, dropout=0.5),
        "discriminator": functools.partial(dcgan.discriminator, spectral=True, group_size=4),
        "loss": functools.partial(
            losses.binary_cross_entropy, real_label=0.9, flip_probability=0.2
        ),
        "penalties": [penalties.gradient_penalty],
        "augmentations": [
            functools.partial(augment.InstanceNoise, deviation=fading(0.2)),
            functools.partial(augment.AdaptiveAugment, target=-1.0, adjustment=100),
        ],
        "replay": functools.partial(replay.ImagePool, size=32),
        "generator_optimizer": functools.partial(
            optimizers.adam, learning_rate=fading(1e-3), beta_2=fading(0.9), weight_decay=0.1
        ),
        "ema_half_life": 100,
    },
    "projection": {
        "generator": conditional.generator,
        "discriminator": conditional.projection_discriminator,
        "penalties": [functools.partial(penalties.r1, gamma=fading(1.0))],
        "augmentations": [augment.DiffAugment],
        "replay": functools.partial(replay.PastGenerator, period=2, share=0.5),
        "discriminator_optimizer": functools.partial(optimizers.sgd, momentum=0.5),
        "discriminator_steps": 2,
        "conditional": True,
    },
    "auxiliary classifier": {
        "generator": conditional.embedding_generator,
        "discriminator": conditional.auxiliary_discriminator,
        "loss": losses.minimax,
        "conditional": True,
    },
    "residual": {
        "generator": functools.partial(residual.generator, width=8),
        "discriminator": functools.partial(residual.discriminator, width=8),
        "loss": losses.relativistic_paired,
        "penalties": [penalties.r1, penalties.r2],
        "conditional": True,
    },
}
