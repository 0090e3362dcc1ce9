"""Keras optimizers for gradients that are already summed over the replicas."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from trainer.config.registry import configurable
from trainer.gan import schedules
from trainer.gan.schedules import Value


@configurable
def adam(
    *,
    learning_rate: Value = 2e-4,
    beta_1: float = 0.5,
    beta_2: Value = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float | None = None,
) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba, 2014) with the tutorial's learning rate and beta_1.

    Args:
      learning_rate: A number, or a schedule over the optimizer's own steps.
      beta_1: Decay of the average gradient, in [0, 1).
      beta_2: Decay of the average squared gradient, in [0, 1), or a schedule.
      epsilon: Added to the root of the average squared gradient.
      weight_decay: Decoupled weight decay coefficient (AdamW: Loshchilov and Hutter, 2019): each
        step first subtracts learning_rate * weight_decay of every weight. None for no decay.
    """
    return ScheduledAdam(
        _as_keras_schedule(learning_rate),
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )


@configurable
def sgd(
    *, learning_rate: Value = 0.01, momentum: float = 0.0, weight_decay: float | None = None
) -> keras.optimizers.Optimizer:
    """Stochastic gradient descent, with momentum if it is above 0.

    Args:
      learning_rate: A number, or a schedule over the optimizer's own steps.
      momentum: Momentum coefficient, in [0, 1).
      weight_decay: Decoupled weight decay coefficient, as in `adam`; None for no decay.
    """
    return keras.optimizers.SGD(
        _as_keras_schedule(learning_rate), momentum=momentum, weight_decay=weight_decay
    )


class _KerasSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of ours in the form that Keras accepts as a learning rate."""

    def __init__(self, schedule: schedules.Schedule) -> None:
        self._schedule = schedule

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self._schedule(tf.convert_to_tensor(step))


def _as_keras_schedule(value: Value) -> float | _KerasSchedule:
    return _KerasSchedule(value) if callable(value) else value


class ScheduledAdam(keras.optimizers.Adam):
    """Keras's Adam, but beta_2 may be a schedule over the optimizer's own steps.

    What all variables share is computed once in a step, where Keras computes it for each: that
    would be an eighth of the operations of a step of the tutorial's GAN, which take time to trace.

    The algorithm is Kingma and Ba's algorithm 1, in the order that the end of their section 2
    recommends.
    """

    def _backend_update_step(self, gradients, variables, learning_rate) -> None:
        dtype = variables[0].dtype
        iterations = tf.convert_to_tensor(self.iterations)
        step = tf.cast(iterations + 1, dtype)
        beta_2 = schedules.at(self.beta_2, iterations, dtype)
        correction_1 = 1 - tf.pow(tf.cast(self.beta_1, dtype), step)
        correction_2 = 1 - tf.pow(beta_2, step)
        rate = tf.cast(learning_rate, dtype) * tf.sqrt(correction_2) / correction_1
        super()._backend_update_step(gradients, variables, (rate, 1 - beta_2))

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates one variable; `learning_rate` is what `_backend_update_step` computed."""
        rate, share = (tf.cast(value, variable.dtype) for value in learning_rate)
        gradient = tf.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        mean, square = self._momentums[index], self._velocities[index]
        self.assign_add(mean, (gradient - mean) * (1 - self.beta_1))
        self.assign_add(square, (tf.square(gradient) - square) * share)
        self.assign_sub(variable, mean * rate / (tf.sqrt(square) + self.epsilon))


def for_reduced_gradients(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Builds `optimizer` to apply gradients that are already summed over all replicas.

    Keras would clip each replica's gradients by themselves and then sum them over the replicas
    inside `apply`. The trainer sums first, so that gradient norms and clipping are those of the
    global batch, and gradients cross the network once. Call inside `strategy.scope()`.

    Raises:
      RuntimeError: if this Keras release has no such step to skip.
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
    """The variables of a built optimizer for the checkpoint: its step count and slots.

    The learning rate, which Keras keeps in a variable too, is left out: a resumed run takes it from
    its config.
    """
    slots = [v for v in optimizer.variables if v is not getattr(optimizer, "_learning_rate", None)]
    return [v.value for v in slots]
