"""Every shipped family: the tutorial's parameter counts, its shapes, and the promised ranges."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import random
from trainer.errors import TrainerError
from trainer.models import article, chatgpt, layers

SHAPE = (28, 28, 1)

# constructor -> parameters, and the output shape of each layer, counted by hand from the tutorial
GENERATORS = {
    article.generator: (
        452_801,
        [(6272,), (7, 7, 128), (7, 7, 128), (14, 14, 64), (14, 14, 64), (28, 28, 1)],
    ),
    article.norm_first_generator: (
        452_801,
        [(6272,), (7, 7, 128), (7, 7, 128), *[(14, 14, 64)] * 3, (28, 28, 1)],
    ),
    article.upsampling_generator: (
        319_872 + 512 + (9 * 128 * 64 + 64) + 256 + (9 * 64 + 1),
        [
            (6272,),
            *[(7, 7, 128)] * 2,
            (14, 14, 128),
            *[(14, 14, 64)] * 2,
            (28, 28, 64),
            (28, 28, 1),
        ],
    ),
    chatgpt.generator: (
        215_617,
        [(3136,), (7, 7, 64), (14, 14, 64), (28, 28, 32), (28, 28, 1)],
    ),
}
DISCRIMINATORS = {
    article.discriminator: (
        41_729,
        [(14, 14, 64), (14, 14, 64), (7, 7, 64), (7, 7, 64), (3136,), (1,)],
    ),
    chatgpt.discriminator: (
        21_953,
        [(14, 14, 32), (14, 14, 32), (7, 7, 64), (7, 7, 64), (3136,), (1,)],
    ),
}


def _check(model, parameters, shapes):
    assert model.count_params() == parameters
    assert [layer.output.shape[1:] for layer in model.layers] == shapes


@pytest.mark.parametrize("build", GENERATORS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_generator(build):
    model = build(latent_dim=50, image_shape=SHAPE)
    _check(model, *GENERATORS[build])
    latents = random.normal(random.example_keys(0, "test", 0, tf.range(5)), [50])
    for training in (False, True):
        images = model(latents, training=training).numpy()
        assert images.shape == (5, 28, 28, 1)
        assert images.dtype == np.float32
        assert np.abs(images).max() <= 1


@pytest.mark.parametrize("build", DISCRIMINATORS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_discriminator(build):
    model = build(image_shape=SHAPE)
    _check(model, *DISCRIMINATORS[build])
    keys = random.example_keys(0, "test", 0, tf.range(5))
    images = tf.reshape(random.uniform(keys, [784]) * 2 - 1, [5, 28, 28, 1])
    with random.key_scope(keys):
        assert model(images, training=True).shape == (5, 1)
    assert model(images, training=False).shape == (5, 1)
    assert model.layers[-1].activation is keras.activations.linear  # logits, not probabilities


@pytest.mark.parametrize("build", [*GENERATORS, *DISCRIMINATORS])
def test_leaky_relu_has_slope_one_fifth(build):
    arguments = {"image_shape": SHAPE} | ({"latent_dim": 50} if build in GENERATORS else {})
    model = build(**arguments)
    activations = [getattr(layer, "activation", None) for layer in model.layers]
    leaky = [
        a
        for a in [*model.layers, *activations]
        if isinstance(a, keras.layers.LeakyReLU | layers.Dropout)
    ]
    assert len(leaky) == 2 + (build is chatgpt.generator)
    assert all(np.isclose(a.negative_slope, 0.2) for a in leaky)


def test_the_articles_dropout_rates():
    model = article.discriminator(image_shape=SHAPE)
    assert [y.rate for y in model.layers if isinstance(y, layers.Dropout)] == [0.4, 0.4]


@pytest.mark.parametrize("build", GENERATORS)
def test_colour_and_other_sizes(build):
    assert build(latent_dim=8, image_shape=(32, 32, 3)).output_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("build", GENERATORS)
def test_a_size_that_does_not_fit_is_refused(build):
    with pytest.raises(TrainerError, match="30x28 .* multiples of 4"):
        build(latent_dim=8, image_shape=(30, 28, 1))
