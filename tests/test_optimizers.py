from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import optimizers


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
