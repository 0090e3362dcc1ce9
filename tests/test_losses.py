from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import losses

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
]


@pytest.mark.parametrize(("loss", "discriminator", "generator"), GOLDEN)
def test_golden_values(loss, discriminator, generator):
    d, g = loss.discriminator(REAL, FAKE), loss.generator(FAKE)
    assert d.shape == g.shape == [4]
    np.testing.assert_allclose(d, discriminator, atol=2e-6)
    np.testing.assert_allclose(g, generator, atol=2e-6)


def test_binary_cross_entropy_is_kerass_on_the_mixed_batch():
    labels = tf.concat([tf.zeros([4, 1]), tf.ones([4, 1])], axis=0)
    probabilities = tf.sigmoid(tf.concat([FAKE, REAL], axis=0))
    expected = keras.losses.BinaryCrossentropy()(labels, probabilities)
    loss = losses.binary_cross_entropy().discriminator(REAL, FAKE)
    np.testing.assert_allclose(tf.reduce_mean(loss), expected, rtol=1e-5)
