from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import rng
from trainer.gan import penalties, schedules
from trainer.models import dcgan

SLOPE = np.random.default_rng(0).normal(size=(4, 5, 1)).astype(np.float32)
REAL, FAKE = np.random.default_rng(1).uniform(-1, 1, (2, 6, 4, 5, 1)).astype(np.float32)


def linear(images):
    return tf.reduce_sum(images * SLOPE, axis=[1, 2, 3])[:, tf.newaxis]


def square(images):
    return tf.reduce_sum(tf.square(images), axis=[1, 2, 3])[:, tf.newaxis]


def norm(images):
    return np.sqrt(np.square(images).sum(axis=(1, 2, 3)))


def apply(penalty, critic, real, fake, step=0):
    """A penalty of the gradients of each logit with respect to its own image."""

    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = critic(images)
        return tape.gradient(logits, images)

    real, fake = tf.constant(real), tf.constant(fake)
    step = tf.constant(step, tf.int64)
    with rng.key_scope(rng.example_keys(0, "test", 0, tf.range(len(real)))):
        return penalty(
            penalties.PenaltyInputs(
                real, fake, lambda: (gradient(real), gradient(fake)), critic, step
            )
        )


def evaluate(penalty, critic, real=REAL, fake=FAKE, step=0):
    return apply(penalty, critic, real, fake, step).numpy()


@pytest.mark.parametrize(("penalty", "images"), [(penalties.r1, REAL), (penalties.r2, FAKE)])
def test_zero_centred_penalties_in_closed_form(penalty, images):
    """The gradient of w.x is w, and that of |x|^2 is 2x."""
    expected = np.full(6, 3.0 / 2 * np.square(SLOPE).sum())
    np.testing.assert_allclose(evaluate(penalty(gamma=3.0), linear), expected, rtol=1e-5)
    expected = 3.0 / 2 * 4 * norm(images) ** 2
    np.testing.assert_allclose(evaluate(penalty(gamma=3.0), square), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [penalties.r1, penalties.r2])
def test_gamma_may_follow_a_schedule(make):
    penalty = make(gamma=schedules.Cosine(first=4.0, last=2.0, steps=10))
    for step, gamma in ((0, 4.0), (5, 3.0), (20, 2.0)):
        expected = np.full(6, gamma / 2 * np.square(SLOPE).sum())
        np.testing.assert_allclose(evaluate(penalty, linear, step=step), expected, rtol=1e-5)


def test_gradient_penalty_of_a_linear_critic():
    expected = np.full(6, 10 * (np.linalg.norm(SLOPE) - 1) ** 2)
    np.testing.assert_allclose(evaluate(penalties.gradient_penalty(), linear), expected, rtol=1e-5)


def test_gradient_penalty_is_between_real_and_fake():
    """For a critic |x|^2 it is (2|x| - 1)^2; if fake = 3 real, |x| / |real| is in [1, 3]."""
    values = evaluate(penalties.gradient_penalty(weight=1.0), square, REAL, 3 * REAL)
    place = (np.sqrt(values) + 1) / 2 / norm(REAL)
    assert ((place >= 1) & (place <= 3)).all() and np.ptp(place) > 0.3


@pytest.mark.parametrize("make", [penalties.r1, penalties.r2, penalties.gradient_penalty])
def test_gradients_of_the_weights_by_finite_differences(make):
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    try:
        model = dcgan.discriminator(image_shape=(8, 8, 1), dropout=0.0)
        images = np.random.default_rng(2).uniform(-1, 1, (2, 3, 8, 8, 1))
        kernel = model.trainable_variables[0]
        direction = np.random.default_rng(3).normal(size=kernel.shape)

        def value():
            return tf.reduce_sum(apply(make(), model, *images))

        with tf.GradientTape() as tape:
            total = value()
        slope = np.sum(tape.gradient(total, kernel.value) * direction)
        start, h = kernel.numpy(), 1e-6
        ends = []
        for sign in (1, -1):
            kernel.assign(start + sign * h * direction)
            ends.append(float(value()))
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4)
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_floatx("float32")


def test_a_critic_without_gradient_has_finite_penalties():
    with tf.GradientTape() as tape:
        slope = tf.zeros_like(SLOPE)
        tape.watch(slope)
        value = apply(
            penalties.gradient_penalty(),
            lambda x: tf.reduce_sum(x * slope, axis=[1, 2, 3])[:, tf.newaxis],
            REAL,
            FAKE,
        )
    assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, slope)).all()
