from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import rng
from trainer.errors import TrainerError
from trainer.models import layers
from trainer.models.validation import check_replica_invariant

KEYS = rng.example_keys(0, "test", 0, tf.range(200))


def test_dropout_zeroes_and_scales():
    ones = tf.ones([200, 9, 9, 3])
    with rng.key_scope(KEYS):
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
    with rng.key_scope(KEYS):
        expected = layers.Dropout(0.4)(tf.nn.leaky_relu(x, 0.2), training=True)
    with rng.key_scope(KEYS):
        y = layers.Dropout(0.4, negative_slope=0.2)(x, training=True)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    y = layers.Dropout(0.4, negative_slope=0.2)(x, training=False)
    np.testing.assert_allclose(y, tf.nn.leaky_relu(x, 0.2), rtol=1e-6)


def test_two_layers_draw_different_masks():
    ones = tf.ones([200, 50])
    model = keras.Sequential([layers.Dropout(0.5), layers.Dropout(0.5)])
    with rng.key_scope(KEYS):
        kept = np.mean(model(ones, training=True).numpy() != 0)
    assert abs(kept - 0.25) < 0.03


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_rate_out_of_range(rate):
    with pytest.raises(ValueError, match=rf"rate={rate} must be in \[0, 1\)"):
        layers.Dropout(rate)


def test_dropout_survives_saving(tmp_path):
    model = keras.Sequential([keras.Input([3]), layers.Dropout(0.3)])
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").layers[0].rate == 0.3


def test_dropout_can_drop_in_inference_mode_too():
    ones = tf.ones([200, 9, 9, 3])
    with rng.key_scope(KEYS):
        y = layers.Dropout(0.5, always=True)(ones, training=False).numpy()
    assert abs((y == 0).mean() - 0.5) < 0.01


def largest_singular_value(kernel):
    return np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2)


@pytest.mark.parametrize(
    "make",
    [functools.partial(layers.Conv2D, kernel_size=3), layers.Dense],
    ids=["Conv2D", "Dense"],
)
def test_spectral_normalisation_divides_by_the_largest_singular_value(make):
    layer = make(6, spectral=True)
    x = tf.random.stateless_normal([2, 5, 5, 4], [0, 0])
    layer.build(x.shape)
    for _ in range(200):
        layer(x, training=True)
    weights = layer.trainable_variables[0].numpy()
    assert largest_singular_value(layer.normalised_kernel().numpy()) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(
        layer.normalised_kernel(), weights / largest_singular_value(weights), rtol=1e-3, atol=1e-5
    )


def test_the_power_iteration_runs_in_training_mode_only():
    layer = layers.Dense(6, spectral=True)
    x = tf.random.stateless_normal([2, 4], [0, 0])
    first = layer(x, training=False).numpy()
    np.testing.assert_array_equal(layer(x, training=False), first)
    layer(x, training=True)
    assert np.abs(layer(x, training=False).numpy() - first).max() > 0


def test_gradients_pass_through_spectral_normalisation():
    """The output does not depend on the kernel's scale, so its gradient is orthogonal to it."""
    layer = layers.Dense(1, spectral=True)
    x = tf.random.stateless_normal([3, 4], [0, 0])
    layer.build(x.shape)
    kernel = layer.trainable_variables[0]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x, training=True))
    gradient = tape.gradient(total, kernel.value)
    assert np.linalg.norm(gradient) > 0.1
    assert abs(np.sum(gradient * kernel.numpy())) < 1e-5


def test_conditional_batch_normalisation_scales_by_class():
    layer = layers.ConditionalBatchNormalization(num_classes=3)
    x = tf.random.stateless_normal([300, 2, 2, 4], [0, 0]) * 3 + 5
    labels = tf.range(300) % 3
    plain = layer(x, labels, training=True).numpy()
    assert np.abs(plain.mean(axis=(0, 1, 2))).max() < 1e-3
    assert np.abs(plain.std(axis=(0, 1, 2)) - 1).max() < 1e-2
    scale, offset = layer.trainable_variables
    assert scale.shape == offset.shape == (3, 4)
    scale.assign(tf.constant([[1.0] * 4, [2.0] * 4, [3.0] * 4]))
    offset.assign(tf.constant([[0.0] * 4, [10.0] * 4, [0.0] * 4]))
    y = layer(x, labels, training=True).numpy()
    for label, (factor, shift) in enumerate([(1, 0), (2, 10), (3, 0)]):
        mine = labels == label
        np.testing.assert_allclose(y[mine], plain[mine] * factor + shift, atol=1e-4)


def test_minibatch_deviation_is_of_each_group():
    x = np.random.default_rng(0).normal(size=(8, 2, 3, 5)).astype(np.float32)
    x[4:] = x[4]  # a group of one image, four times
    y = layers.MinibatchDeviation(4)(x).numpy()
    assert y.shape == (8, 2, 3, 6)
    np.testing.assert_array_equal(y[..., :5], x)
    np.testing.assert_allclose(y[:4, ..., 5], x[:4].std(axis=0).mean(), rtol=1e-4)
    np.testing.assert_allclose(y[4:, ..., 5], 0, atol=2e-4)


@pytest.mark.parametrize("group_size", [3, 1])
def test_a_group_must_divide_the_batch(group_size):
    with pytest.raises(TrainerError, match=f"group_size={group_size} must .* divide .*, 8 here"):
        layers.MinibatchDeviation(group_size)(tf.zeros([8, 2, 2, 1]))


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dropout(0.4),
        keras.layers.GaussianNoise(0.1),
        keras.layers.RandomTranslation(0.1, 0.1),
    ],
)
def test_keras_own_random_layers_are_refused(layer):
    model = keras.Sequential([keras.Input([3]), keras.Sequential([layer])], name="discriminator")
    with pytest.raises(TrainerError, match=r"same numbers .* use trainer\.models\.layers\.Dropout"):
        check_replica_invariant(model)


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(layers.Conv2D, 3, kernel_size=3),
        functools.partial(layers.Conv2DTranspose, 3, kernel_size=4, strides=2),
        functools.partial(layers.Dense, 3),
    ],
    ids=["Conv2D", "Conv2DTranspose", "Dense"],
)
def test_a_bias_gradient_is_not_summed_in_bfloat16(make):
    """In bfloat16, a sum of ones would stop at 256."""
    layer = make(dtype="mixed_bfloat16")
    inputs = tf.ones([16, 12, 12, 2], tf.bfloat16)
    layer.build(inputs.shape)
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        total = tf.reduce_sum(tf.cast(outputs, tf.float32))
    (gradient,) = tape.gradient(total, [layer.bias.value])
    np.testing.assert_array_equal(gradient, [tf.size(outputs[..., 0])] * 3)
