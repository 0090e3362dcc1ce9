from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import random
from trainer.errors import TrainerError
from trainer.models import layers
from trainer.models.checks import check_replica_invariant

KEYS = random.example_keys(0, "test", 0, tf.range(200))


def test_dropout_zeroes_and_scales():
    ones = tf.ones([200, 9, 9, 3])
    with random.key_scope(KEYS):
        y = layers.Dropout(0.4)(ones, training=True).numpy()
    kept = y[y != 0]
    np.testing.assert_allclose(kept, 1 / 0.6, rtol=1e-4)
    assert abs(kept.size / y.size - 0.6) < 4 * np.sqrt(0.24 / y.size)


def test_dropout_does_nothing_in_inference_mode():
    ones = tf.ones([200, 4])
    np.testing.assert_array_equal(layers.Dropout(0.4)(ones, training=False), ones)
    np.testing.assert_array_equal(layers.Dropout(0.0)(ones, training=True), ones)


def test_dropout_behind_a_leaky_relu():
    x = tf.random.stateless_normal([200, 50], [0, 0])
    with random.key_scope(KEYS):
        expected = layers.Dropout(0.4)(tf.nn.leaky_relu(x, 0.2), training=True)
    with random.key_scope(KEYS):
        y = layers.Dropout(0.4, negative_slope=0.2)(x, training=True)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    y = layers.Dropout(0.4, negative_slope=0.2)(x, training=False)
    np.testing.assert_allclose(y, tf.nn.leaky_relu(x, 0.2), rtol=1e-6)


def test_two_layers_draw_different_masks():
    ones = tf.ones([200, 50])
    model = keras.Sequential([layers.Dropout(0.5), layers.Dropout(0.5)])
    with random.key_scope(KEYS):
        kept = np.mean(model(ones, training=True).numpy() != 0)
    assert abs(kept - 0.25) < 0.03


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_rate_out_of_range(rate):
    with pytest.raises(ValueError, match=rf"{rate} is not in \[0, 1\)"):
        layers.Dropout(rate)


def test_dropout_survives_saving(tmp_path):
    model = keras.Sequential([keras.Input([3]), layers.Dropout(0.3)])
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").layers[0].rate == 0.3


@pytest.mark.parametrize("layer", [keras.layers.Dropout(0.4), keras.layers.GaussianNoise(0.1)])
def test_keras_own_random_layers_are_refused(layer):
    model = keras.Sequential([keras.Input([3]), keras.Sequential([layer])], name="discriminator")
    with pytest.raises(TrainerError, match=r"same numbers .* use trainer\.models\.layers\.Dropout"):
        check_replica_invariant(model)
