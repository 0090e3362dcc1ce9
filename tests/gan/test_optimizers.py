from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.gan import optimizers, schedules


@pytest.mark.parametrize("num_replicas", [1, 4])
def test_gradients_are_not_summed_again(make_strategy, num_replicas):
    strategy = make_strategy(num_replicas)
    with strategy.scope():
        variable = keras.Variable(tf.zeros([3]))
        # SGD: the step is proportional to the gradient, so a second sum would show.
        optimizer = optimizers.for_reduced_gradients(keras.optimizers.SGD(1.0), [variable])
    gradient = tf.constant([1.0, 2.0, 3.0])
    strategy.run(lambda: optimizer.apply([gradient], [variable]))
    np.testing.assert_array_equal(variable.numpy(), [-1.0, -2.0, -3.0])


def test_adam_has_the_tutorials_hyperparameters():
    config = optimizers.adam().get_config()
    np.testing.assert_allclose(config["learning_rate"], 2e-4)
    assert (config["beta_1"], config["beta_2"]) == (0.5, 0.999)


def _trained(optimizer, gradients):
    """A weight that starts at 1, after one step for each gradient."""
    variable = keras.Variable(tf.ones([]))
    built = optimizers.for_reduced_gradients(optimizer, [variable])
    for gradient in gradients:
        built.apply([tf.constant(gradient)], [variable])
    return float(variable.numpy())


def _adam(gradients, rates, beta_2s, beta_1=0.5, weight_decay=0.0):
    """Kingma and Ba's algorithm 1, with another rate and beta_2 in each step."""
    weight, m, v = 1.0, 0.0, 0.0
    for t, (g, rate, beta_2) in enumerate(zip(gradients, rates, beta_2s, strict=True), 1):
        weight -= weight * rate * weight_decay
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        weight -= rate * m / (1 - beta_1**t) / (np.sqrt(v / (1 - beta_2**t)) + 1e-7)
    return weight


GRADIENTS = [1.0, -2.0, 0.5]


def test_adam_follows_schedules():
    optimizer = optimizers.adam(
        learning_rate=schedules.Cosine(first=0.1, last=0.02, steps=2),
        beta_2=schedules.Cosine(first=0.9, last=0.99, steps=2),
    )
    expected = _adam(GRADIENTS, [0.1, 0.06, 0.02], [0.9, 0.945, 0.99])
    assert _trained(optimizer, GRADIENTS) == pytest.approx(expected, rel=1e-4)


def test_weight_decay_is_decoupled():
    optimizer = optimizers.adam(learning_rate=0.1, beta_2=0.9, weight_decay=0.5)
    expected = _adam(GRADIENTS, [0.1] * 3, [0.9] * 3, weight_decay=0.5)
    assert _trained(optimizer, GRADIENTS) == pytest.approx(expected, rel=1e-4)


def test_sgd_follows_a_schedule_and_has_momentum():
    optimizer = optimizers.sgd(
        learning_rate=schedules.WarmUp(value=0.1, steps=2), momentum=0.5, weight_decay=None
    )
    velocity, weight = 0.0, 1.0
    for rate, gradient in zip([0.0, 0.05, 0.1], GRADIENTS, strict=True):
        velocity = 0.5 * velocity - rate * gradient
        weight += velocity
    assert _trained(optimizer, GRADIENTS) == pytest.approx(weight, rel=1e-5)


def test_a_schedule_of_the_rate_leaves_the_same_state():
    variable = keras.Variable(tf.zeros([3]))
    scheduled = optimizers.adam(learning_rate=schedules.Constant(value=0.1))
    state = optimizers.state(optimizers.for_reduced_gradients(scheduled, [variable]))
    assert [v.shape for v in state] == [[], [3], [3]]


def test_an_optimizer_of_an_unknown_keras_is_refused():
    with pytest.raises(RuntimeError, match=r"Keras .* setup\.py"):
        optimizers.for_reduced_gradients(object(), [])


def test_the_state_is_all_but_the_learning_rate():
    variable = keras.Variable(tf.zeros([3]))
    optimizer = optimizers.for_reduced_gradients(optimizers.adam(), [variable])
    state = optimizers.state(optimizer)
    assert [v.shape for v in state] == [[], [3], [3]]  # step count, and Adam's two moments
    assert state[0].dtype.is_integer
    optimizer.learning_rate = 0.5
    assert all(v.numpy().max() == 0 for v in state)
