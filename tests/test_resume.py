"""Exact resume: a run taken up from a checkpoint ends bit-identical to one that was never stopped.

What ships is tried in a few combinations, in which nothing hides anything else's state.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from tests_support import assert_same, state

from trainer import augment, losses, opponents, optimizers, penalties, schedules
from trainer.checkpoints import Checkpoints
from trainer.gan import GanTrainer
from trainer.models import article, conditional, residual

DIGITS = sklearn.datasets.load_digits()


def fading(value):
    return schedules.cosine(first=value, last=value / 2, steps=4, warm_up_steps=2)


LABELS = {"labels": DIGITS.target[:60].astype(np.int32), "num_classes": 10}
COMBINATIONS = {
    "everything without labels": {
        "generator": functools.partial(article.generator, dropout=0.5),
        "discriminator": functools.partial(article.discriminator, spectral=True, group_size=4),
        "loss": losses.binary_cross_entropy(real_label=0.9, flip_probability=0.2),
        "penalties": [penalties.gradient_penalty(), penalties.r1(gamma=fading(1.0))],
        "augmentations": [
            functools.partial(augment.InstanceNoise, deviation=fading(0.2)),
            functools.partial(augment.AdaptiveAugment, target=-1.0, adjustment=100),
        ],
        "opponents": functools.partial(opponents.Replay, size=32),
        "generator_optimizer": functools.partial(
            optimizers.adam, learning_rate=fading(1e-3), beta_2=fading(0.9), weight_decay=0.1
        ),
        "discriminator_steps": 2,
        "ema_half_life": 100,
    },
    "projection": {
        "generator": conditional.generator,
        "discriminator": conditional.projection_discriminator,
        "augmentations": [augment.DiffAugment],
        "opponents": functools.partial(opponents.PastGenerator, period=2, share=0.5),
        "discriminator_optimizer": functools.partial(optimizers.sgd, momentum=0.5),
        **LABELS,
    },
    "auxiliary classifier": {
        "generator": conditional.embedding_generator,
        "discriminator": conditional.auxiliary_discriminator,
        **LABELS,
    },
    "residual": {
        "generator": functools.partial(residual.generator, width=8),
        "discriminator": functools.partial(residual.discriminator, width=8),
        "loss": losses.relativistic_paired(),
        "penalties": [penalties.r1(), penalties.r2()],
        **LABELS,
    },
}


def make(strategy, settings):
    defaults = {
        "generator": article.generator,
        "discriminator": article.discriminator,
        "loss": losses.binary_cross_entropy(),
        "generator_optimizer": optimizers.adam,
        "discriminator_optimizer": optimizers.adam,
    }
    return GanTrainer(
        strategy=strategy,
        images=(DIGITS.images[:60, :, :, np.newaxis] * 255 / 16).astype(np.uint8),
        latent_dim=50,
        batch_size=16,
        seed=0,
        **(defaults | settings),
    )


@pytest.mark.parametrize("settings", COMBINATIONS.values(), ids=COMBINATIONS)
def test_a_resumed_run_ends_the_same(make_strategy, tmp_path, settings):
    whole = make(make_strategy(1), settings)
    whole.train(3)
    Checkpoints(whole.checkpoint_items, str(tmp_path)).save()
    before = state(whole)
    whole.train(3)
    resumed = make(make_strategy(1), settings)
    assert Checkpoints(resumed.checkpoint_items, str(tmp_path)).restore()
    resumed.train(1)
    resumed.train(2)
    after = state(whole)
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    groups = {name.rsplit(" ", 1)[0] for name in after}
    assert {name.rsplit(" ", 1)[0] for name in changed} == groups  # nothing stood still
    assert_same(state(resumed), after)
    samples = [t.sample(tf.constant(whole.latents(4))) for t in (whole, resumed)]
    np.testing.assert_array_equal(*samples)
