"""Keras optimizers for gradients that are already summed over the replicas."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def adam(
    *,
    learning_rate: float = 2e-4,
    beta_1: float = 0.5,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba, 2014) with the tutorial's learning rate and beta_1."""
    return keras.optimizers.Adam(learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


def for_reduced_gradients(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Builds `optimizer` to apply, on every replica, gradients that all replicas agree on.

    Keras would sum the gradients over the replicas inside `apply`, after clipping each replica's
    share on its own. The trainer sums first: then the norms it reports and any clipping are those
    of the whole batch, and the sum crosses the network once. Call inside `strategy.scope()`.

    Raises:
      RuntimeError: where this Keras release has no such step to skip.
    """
    if not hasattr(optimizer, "_all_reduce_sum_gradients"):
        raise RuntimeError(
            f"Keras {keras.__version__} reduces gradients in a way this trainer does not know; "
            "install a release within the range that setup.py names"
        )
    optimizer.build(variables)
    optimizer._all_reduce_sum_gradients = list
    return optimizer


def state(optimizer: keras.optimizers.Optimizer) -> list[tf.Variable]:
    """What a checkpoint must hold of a built optimizer: its step count and slots.

    Not the learning rate, which Keras keeps in a variable too: that is the config's to say, and a
    resumed run must follow the config.
    """
    learning_rate = optimizer.learning_rate
    return [v.value for v in optimizer.variables if v is not learning_rate]
