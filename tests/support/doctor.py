"""Small networks on 8x8 digits, and a rule that is violated on cue, for tests of the doctor."""

from __future__ import annotations

import functools

import keras
import numpy as np
import sklearn.datasets

from trainer.doctor.rules import Rule, Violation
from trainer.gan import optimizers

_DIGITS = sklearn.datasets.load_digits()
IMAGES = (_DIGITS.images[..., np.newaxis] * 255 / 16).astype(np.uint8)
LABELS = _DIGITS.target.astype(np.int32)


def adam(rate):
    return functools.partial(optimizers.adam, learning_rate=rate)


def dense_generator(*, latent_dim, image_shape):
    layers = keras.layers
    body = [layers.Dense(32, activation="leaky_relu"), layers.Dense(64, activation="tanh")]
    return keras.Sequential(
        [keras.Input([latent_dim]), *body, layers.Reshape(image_shape)], name="generator"
    )


def dense_discriminator(*, image_shape):
    body = [keras.layers.Dense(32, activation="leaky_relu"), keras.layers.Dense(1)]
    return keras.Sequential(
        [keras.Input(image_shape), keras.layers.Flatten(), *body], name="discriminator"
    )


def scripted(*, pattern):
    """A rule that is violated in the checks where `pattern`, such as "0110", has a 1."""

    def check(signals, memory):
        num_checks = int(memory.get("num_checks", 0))
        memory["num_checks"] = num_checks + 1
        return Violation("the script says so", 1.0, 0.0) if pattern[num_checks] == "1" else None

    return Rule("scripted", check, ())
