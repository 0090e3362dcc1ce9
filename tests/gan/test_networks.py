from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.gan import networks
from trainer.gan.networks import NetworkConfig, ema_decay
from trainer.models import dcgan

LATE = 10**9  # steps, long after the warm-up


@pytest.mark.parametrize("batch_size", [1, 32, 500])
def test_a_weight_counts_half_after_the_half_life(batch_size):
    steps = 1000 // batch_size
    kept = float(ema_decay(1000, batch_size, tf.constant(LATE, tf.int64))) ** steps
    assert kept == pytest.approx(0.5 ** (steps * batch_size / 1000), rel=1e-12)


def test_in_the_warm_up_the_half_life_is_a_fraction_of_the_images_seen():
    """After 20 steps of 10 images, 0.05 of 200 is 10 images: one step's."""
    assert float(ema_decay(1000, 10, tf.constant(19, tf.int64))) == pytest.approx(0.5)
    assert float(ema_decay(1000, 10, tf.constant(0, tf.int64))) == pytest.approx(0.5**20)


def build(averaged):
    config = NetworkConfig(
        generator=dcgan.generator, discriminator=dcgan.discriminator, latent_dim=3
    )
    return networks.build(
        config, image_shape=(8, 8, 1), num_classes=None, averaged=averaged, kernels=()
    )


def test_without_an_average_samples_are_the_generators():
    built = build(averaged=False)
    assert built.generator_ema is built.generator


def test_the_average_starts_at_the_generator_then_averages_weights_and_copies_statistics():
    built = build(averaged=True)
    average, model = built.generator_ema, built.generator
    old = [v.numpy() for v in average.trainable_variables]
    for before, weight in zip(old, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(before, weight)
    for variable in model.variables:
        variable.assign(np.random.default_rng(1).uniform(size=variable.shape))
    built.update_ema(tf.constant(0.75, tf.float64))
    for before, now, target in zip(
        old, average.trainable_variables, model.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(now, 0.75 * before + 0.25 * target.numpy(), rtol=1e-5, atol=1e-7)
    statistics = average.non_trainable_variables
    assert len(statistics) > 0
    for now, target in zip(statistics, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(now, target)
