from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.gan import make_trainer, operations

from trainer.kernels import selection
from trainer.kernels.normalization import normalize, supports
from trainer.models import layers

SHAPE = (16, 5, 4, 6)
CHANNELS = SHAPE[-1]


def values(seed, *, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 2, SHAPE)


def share_of(array):
    """This replica's part of an array of SHAPE, in float32; called within strategy.run."""
    context = tf.distribute.get_replica_context()
    count = SHAPE[0] // context.num_replicas_in_sync
    first = context.replica_id_in_sync_group * count
    share = tf.constant(array, tf.float32)[first : first + count]
    return tf.ensure_shape(share, (count, *SHAPE[1:]))


def normalisation(build, **settings):
    """A layer whose weights and moving moments are not the initial ones."""
    layer = build(**settings)
    layer.build(SHAPE)
    start = np.linspace(0.5, 2, CHANNELS)
    layer.set_weights([start, start - 1, start / 3, start])
    return layer


def results(layer, inputs, cotangents, training=True):
    """What the layer returns, and the gradients of inputs, gamma and beta."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=training)
        total = tf.reduce_sum(tf.sin(tf.cast(outputs, cotangents.dtype)) * cotangents)
    return outputs, *tape.gradient(total, [inputs, layer.gamma.value, layer.beta.value])


def assert_near(ours, expected, tolerance):
    ours, expected = (np.asarray(tf.cast(tensor, tf.float64)) for tensor in (ours, expected))
    assert np.abs(ours - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("mixed_bfloat16", 0.02)])
@pytest.mark.parametrize("num_replicas", [1, 4])
def test_it_is_keras_normalisation_of_the_global_batch(
    make_strategy, num_replicas, dtype, tolerance, training
):
    inputs, cotangents = values(0, mean=1.5), values(1)
    reference = normalisation(keras.layers.BatchNormalization, dtype="float64")
    expected = results(reference, tf.constant(inputs), tf.constant(cotangents), training)

    strategy = make_strategy(num_replicas)
    with strategy.scope():
        layer = normalisation(layers.BatchNormalization, synchronized=True, dtype=dtype)

    def replica_step():
        context = tf.distribute.get_replica_context()
        mine = tf.cast(share_of(inputs), layer.compute_dtype)
        with selection.using(["fused_normalization"]):
            *local, gamma, beta = results(layer, mine, share_of(cotangents), training)
        return *local, *context.all_reduce(tf.distribute.ReduceOp.SUM, [gamma, beta])

    step = tf.function(lambda: strategy.run(replica_step), autograph=False)
    assert any("FusedBatchNorm" in name for name in operations(step))
    *local, gamma, beta = (strategy.experimental_local_results(value) for value in step())
    for ours, theirs in zip(local, expected[:2], strict=True):
        assert_near(tf.concat(ours, axis=0), theirs, tolerance)
    for ours, theirs in zip((gamma, beta), expected[2:], strict=True):
        for replica in ours:
            assert_near(replica, theirs, tolerance)
    for name in ("moving_mean", "moving_variance"):
        for replica in strategy.experimental_local_results(getattr(layer, name).value):
            assert_near(replica, getattr(reference, name), tolerance / 10)


def test_each_replica_by_itself_if_not_synchronized(make_strategy):
    strategy = make_strategy(4)
    inputs = np.float32(values(0, mean=1.5))

    def replica_step():
        one = tf.ones([CHANNELS])
        return normalize(share_of(inputs), one, one, 1e-3, synchronized=False)[1]

    means = strategy.experimental_local_results(tf.function(strategy.run)(replica_step))
    for part, mean in zip(np.split(inputs, 4), means, strict=True):
        np.testing.assert_allclose(mean, part.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_what_is_left_to_keras():
    one = tf.ones([CHANNELS])
    inputs = tf.constant(values(0), tf.float32)
    assert not supports(inputs)
    with selection.using(["fused_normalization"]):
        assert supports(inputs)
        assert not supports(tf.cast(inputs, tf.float64))
        assert supports(tf.reshape(inputs, [-1, CHANNELS]))
    assert normalize(inputs, one, one, 1e-3)[0].shape == SHAPE
    outputs, *_ = normalize(tf.reshape(inputs, [-1, CHANNELS]), one, one, 1e-3)
    assert outputs.shape == (320, CHANNELS)


def test_a_discriminator_does_not_use_it(make_strategy):
    """Penalties need second derivatives, which the fused operation lacks over replicas."""

    def discriminator(*, image_shape):
        return keras.Sequential(
            [
                keras.Input(image_shape),
                layers.Conv2D(4, 3, strides=2),
                layers.BatchNormalization(synchronized=True),
                keras.layers.Flatten(),
                layers.Dense(1),
            ]
        )

    gan = make_trainer(
        make_strategy(1), discriminator=discriminator, kernels=["fused_normalization"]
    )
    images = tf.zeros([8, 28, 28, 1])
    discriminate = tf.function(lambda: gan.networks.discriminate(images, None).logits)
    assert not any("FusedBatchNorm" in name for name in operations(discriminate))


@pytest.mark.parametrize("settings", [{"axis": 1}, {"renorm": True}])
def test_the_layer_refuses_what_the_operation_does_not_do(settings):
    with pytest.raises(ValueError, match="renorm"):
        layers.BatchNormalization(**settings)
