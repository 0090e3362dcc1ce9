from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import rng
from trainer.gan import losses

REAL = tf.constant([[2.0], [-1.0], [0.0], [30.0]])
FAKE = tf.constant([[-3.0], [0.5], [0.0], [-30.0]])

# loss, discriminator's golden values on (REAL, FAKE), generator's on FAKE; per example
GOLDEN = [
    (
        losses.binary_cross_entropy(),
        [0.0877575, 1.1436695, 0.6931472, 0.0],
        [3.0485873, 0.4740770, 0.6931472, 30.0],
    ),
    (
        losses.binary_cross_entropy(real_label=0.9),
        [0.1877575, 1.0936695, 0.6931472, 1.5],
        [3.0485873, 0.4740770, 0.6931472, 30.0],
    ),
    (
        losses.binary_cross_entropy(real_label=0.9, fake_label=0.2),
        [0.4877577, 1.0436693, 0.6931472, 4.5],
        [3.0485873, 0.4740770, 0.6931472, 30.0],
    ),
    (
        losses.minimax(),
        [0.0877575, 1.1436695, 0.6931472, 0.0],
        [-0.0485873, -0.9740770, -0.6931472, 0.0],
    ),
    (losses.least_squares(), [5.0, 2.125, 0.5, 870.5], [8.0, 0.125, 0.5, 480.5]),
    (losses.wasserstein(), [-5.0, 1.5, 0.0, -60.0], [3.0, -0.5, 0.0, 30.0]),
    (losses.hinge(), [0.0, 3.5, 2.0, 0.0], [3.0, -0.5, 0.0, 30.0]),
    (
        losses.relativistic_paired(),
        [0.0067153, 1.7014133, 0.6931472, 0.0],
        [5.0067153, 0.2014133, 0.6931472, 60.0],
    ),
]


@pytest.mark.parametrize(("loss", "discriminator", "generator"), GOLDEN)
def test_golden_values(loss, discriminator, generator):
    d = loss.discriminator(REAL, FAKE)
    g = loss.generator(REAL if loss.relativistic else None, FAKE)
    assert d.shape == g.shape == [4]
    np.testing.assert_allclose(d, discriminator, atol=2e-6)
    np.testing.assert_allclose(g, generator, atol=2e-6)


def test_flipped_labels_change_places():
    labels = {"real_label": 0.9, "fake_label": 0.2}
    loss = losses.binary_cross_entropy(**labels, flip_probability=0.25)
    plain = losses.binary_cross_entropy(**labels)
    count = 4000
    real, fake = tf.fill([count, 1], 2.0), tf.fill([count, 1], -3.0)
    with rng.key_scope(rng.example_keys(0, "test", 0, tf.range(2 * count))):
        values = loss.discriminator(real, fake).numpy()

    def half(logit, label):
        return 0.5 * (np.logaddexp(0, logit) - label * logit)

    cases = {
        (a, b): half(2.0, 0.9 if not a else 0.2) + half(-3.0, 0.2 if not b else 0.9)
        for a in (0, 1)
        for b in (0, 1)
    }
    np.testing.assert_allclose(plain.discriminator(real, fake), cases[0, 0], rtol=1e-5)
    for (a, b), expected in cases.items():
        share = np.isclose(values, expected, rtol=1e-5).mean()
        probability = (0.25 if a else 0.75) * (0.25 if b else 0.75)
        assert abs(share - probability) < 4 * np.sqrt(probability * (1 - probability) / count)


def test_binary_cross_entropy_is_kerass_on_the_mixed_batch():
    labels = tf.concat([tf.zeros([4, 1]), tf.ones([4, 1])], axis=0)
    probabilities = tf.sigmoid(tf.concat([FAKE, REAL], axis=0))
    expected = keras.losses.BinaryCrossentropy()(labels, probabilities)
    loss = losses.binary_cross_entropy().discriminator(REAL, FAKE)
    np.testing.assert_allclose(tf.reduce_mean(loss), expected, rtol=1e-5)


def test_auxiliary_is_the_cross_entropy_of_the_class():
    class_logits = tf.constant([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0], [30.0, 0.0, 0.0]])
    loss = losses.auxiliary(class_logits, tf.constant([0, 2, 1]))
    assert loss.shape == [3]
    np.testing.assert_allclose(loss, [0.1698460, 1.0986123, 30.0], atol=2e-6)
