"""Training loops for the same GAN: the notebook's, a plain TensorFlow one, and this trainer's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.distributed import strategy as strategies
from trainer.tools.benchmark.problem import DROPOUT, LATENT_DIM, Problem, trainer

Losses = tuple[float, float]


class Loop(NamedTuple):
    """One way to train."""

    run: Callable[[int], object]
    """Trains for a number of steps."""
    first_losses: Losses
    """Losses of the discriminator and the generator in a first step without dropout."""


class _Models(NamedTuple):
    generator: keras.Model
    discriminator: keras.Model


def _models(problem: Problem, dropout: float) -> _Models:
    """The tutorial's networks in Keras's own layers."""
    leaky = functools.partial(keras.layers.LeakyReLU, negative_slope=0.2)
    generator = keras.Sequential(
        [
            keras.Input([LATENT_DIM]),
            keras.layers.Dense(7 * 7 * 128, activation=leaky()),
            keras.layers.Reshape([7, 7, 128]),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2DTranspose(64, 4, strides=2, padding="same", activation=leaky()),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input([28, 28, 1]),
            keras.layers.Conv2D(64, 5, strides=2, padding="same", activation=leaky()),
            keras.layers.Dropout(dropout),
            keras.layers.Conv2D(64, 3, strides=2, padding="same", activation=leaky()),
            keras.layers.Dropout(dropout),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    number = len(generator.weights)
    generator.set_weights(problem.weights[:number])
    discriminator.set_weights(problem.weights[number:])
    return _Models(generator, discriminator)


def _adam() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(2e-4, beta_1=0.5)


def _batches(problem: Problem) -> tf.data.Iterator:
    images = problem.images.astype(np.float32) / 127.5 - 1
    dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(1000).repeat()
    return iter(dataset.batch(len(problem.real), drop_remainder=True).prefetch(1))


def notebook(problem: Problem) -> Loop:
    """The tutorial's own loop: two compiled Keras models and train_on_batch."""

    def make(dropout: float) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Losses]:
        generator, discriminator = _models(problem, dropout)
        discriminator.compile(loss="binary_crossentropy", optimizer=_adam(), metrics=["accuracy"])
        gan = keras.Sequential([generator, discriminator])
        gan.compile(loss="binary_crossentropy", optimizer=_adam())

        def step(real: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> Losses:
            count = real.shape[0]
            mixed = tf.concat([generator(first), real], axis=0)
            discriminator.trainable = True
            labels = tf.constant([[0.0]] * count + [[1.0]] * count)
            loss_d, _ = discriminator.train_on_batch(mixed, labels)
            discriminator.trainable = False
            loss_g = gan.train_on_batch(second, tf.constant([[1.0]] * count))
            return float(loss_d), float(loss_g)

        return step

    return _loop(problem, make)


def one_step(problem: Problem) -> Loop:
    """One tf.function for each step, with gradient tapes, as in TensorFlow's tutorials."""

    def make(dropout: float) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], list[tf.Tensor]]:
        generator, discriminator = _models(problem, dropout)
        optimizers = (_adam(), _adam())
        for optimizer, model in zip(optimizers, (discriminator, generator), strict=True):
            optimizer.build(model.trainable_variables)
        cross_entropy = keras.losses.BinaryCrossentropy()

        @tf.function
        def step(real: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> list[tf.Tensor]:
            mixed = tf.concat([generator(first, training=False), real], axis=0)
            labels = tf.concat([tf.zeros([len(real), 1]), tf.ones([len(real), 1])], axis=0)
            with tf.GradientTape() as tape:
                loss_d = cross_entropy(labels, discriminator(mixed, training=True))
            variables = discriminator.trainable_variables
            optimizers[0].apply(tape.gradient(loss_d, variables), variables)
            with tf.GradientTape() as tape:
                probabilities = discriminator(generator(second, training=True), training=True)
                loss_g = cross_entropy(tf.ones([len(real), 1]), probabilities)
            variables = generator.trainable_variables
            optimizers[1].apply(tape.gradient(loss_g, variables), variables)
            return [loss_d, loss_g]

        return step

    return _loop(problem, make)


def _loop(problem: Problem, make: Callable[[float], Callable[..., Any]]) -> Loop:
    d_loss, g_loss = make(0.0)(tf.constant(problem.real), *map(tf.constant, problem.latents))
    step, batches = make(DROPOUT), _batches(problem)

    def run(num_steps: int) -> None:
        for _ in range(num_steps):
            real = next(batches)
            shape = [real.shape[0], LATENT_DIM]
            step(real, tf.random.normal(shape), tf.random.normal(shape))

    return Loop(run, (float(d_loss), float(g_loss)))


def this_trainer(
    problem: Problem,
    strategy: Callable[[], tf.distribute.Strategy] = strategies.one_device,
    **settings: Any,
) -> Loop:
    """This trainer, with settings as `trainer.tools.benchmark.problem.trainer` takes them."""
    make = functools.partial(
        trainer, problem.images, len(problem.real), strategy=strategy(), **settings
    )
    first = make(dropout=0.0).train(1)
    return Loop(make().train, (first["loss/discriminator"], first["loss/generator"]))
