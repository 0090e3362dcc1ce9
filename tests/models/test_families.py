"""Every shipped family: the tutorial's parameter counts, its shapes, and the promised ranges."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import rng
from trainer.errors import TrainerError
from trainer.models import chatgpt, conditional, dcgan, layers, residual

SHAPE = (28, 28, 1)

# constructor -> parameters, and the output shape of each layer, counted by hand from the tutorial
GENERATORS = {
    dcgan.generator: (
        452_801,
        [(6272,), (7, 7, 128), (7, 7, 128), (14, 14, 64), (14, 14, 64), (28, 28, 1)],
    ),
    dcgan.norm_first_generator: (
        452_801,
        [(6272,), (7, 7, 128), (7, 7, 128), *[(14, 14, 64)] * 3, (28, 28, 1)],
    ),
    dcgan.upsampling_generator: (
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
    dcgan.discriminator: (
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
    latents = rng.normal(rng.example_keys(0, "test", 0, tf.range(5)), [50])
    for training in (False, True):
        images = model(latents, training=training).numpy()
        assert images.shape == (5, 28, 28, 1)
        assert images.dtype == np.float32
        assert np.abs(images).max() <= 1


@pytest.mark.parametrize("build", DISCRIMINATORS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_discriminator(build):
    model = build(image_shape=SHAPE)
    _check(model, *DISCRIMINATORS[build])
    keys = rng.example_keys(0, "test", 0, tf.range(5))
    images = tf.reshape(rng.uniform(keys, [784]) * 2 - 1, [5, 28, 28, 1])
    with rng.key_scope(keys):
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


def test_the_tutorials_dropout_rates():
    model = dcgan.discriminator(image_shape=SHAPE)
    assert [y.rate for y in model.layers if isinstance(y, layers.Dropout)] == [0.4, 0.4]


@pytest.mark.parametrize("build", GENERATORS)
def test_colour_and_other_sizes(build):
    assert build(latent_dim=8, image_shape=(32, 32, 3)).output_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("build", GENERATORS)
def test_a_size_that_does_not_fit_is_refused(build):
    with pytest.raises(TrainerError, match="30x28 .* multiples of 4"):
        build(latent_dim=8, image_shape=(30, 28, 1))


CONDITIONAL_GENERATORS = [
    conditional.generator,
    conditional.embedding_generator,
    residual.generator,
]
CONDITIONAL_DISCRIMINATORS = [
    conditional.embedding_discriminator,
    conditional.projection_discriminator,
    residual.discriminator,
]
SIZES = [(28, 28, 1), (32, 32, 3)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("build", CONDITIONAL_GENERATORS)
def test_a_conditional_generator_uses_its_labels(build, shape):
    model = build(latent_dim=50, image_shape=shape, num_classes=3)
    latents = rng.normal(rng.example_keys(0, "test", 0, tf.zeros([6], tf.int32)), [50])
    for scale in (v for v in model.trainable_variables if "embedding" in v.path):
        scale.assign_add(tf.random.stateless_normal(scale.shape, [0, 0]))
    images = model([latents, tf.constant([0, 1, 2, 0, 1, 2])], training=False).numpy()
    assert images.shape == (6, *shape) and np.abs(images).max() <= 1
    np.testing.assert_allclose(images[:3], images[3:], atol=1e-5)
    assert min(np.abs(images[0] - images[i]).max() for i in (1, 2)) > 1e-3


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("build", CONDITIONAL_DISCRIMINATORS)
def test_a_conditional_discriminator_uses_its_labels(build, shape):
    model = build(image_shape=shape, num_classes=3)
    keys = rng.example_keys(0, "test", 0, tf.zeros([6], tf.int32))
    images = tf.reshape(rng.uniform(keys, [np.prod(shape)]) * 2 - 1, [6, *shape])
    logits = model([images, tf.constant([0, 1, 2, 0, 1, 2])], training=False).numpy()
    assert logits.shape == (6, 1)
    np.testing.assert_allclose(logits[:3], logits[3:], atol=1e-5)
    assert len(np.unique(logits[:3].round(6))) == 3


@pytest.mark.parametrize("shape", SIZES)
def test_the_auxiliary_discriminator_has_two_dense_heads_on_the_same_features(shape):
    model = conditional.auxiliary_discriminator(image_shape=shape, num_classes=3)
    keys = rng.example_keys(0, "test", 0, tf.range(6))
    images = tf.reshape(rng.uniform(keys, [np.prod(shape)]) * 2 - 1, [6, *shape])
    outputs = model(images, training=False)
    assert [output.shape for output in outputs] == [(6, 1), (6, 3)]
    flatten = next(y for y in model.layers if isinstance(y, keras.layers.Flatten))
    features = keras.Model(model.input, flatten.output)(images, training=False).numpy()
    *_, kernel, bias, class_kernel, class_bias = model.get_weights()
    for output, (weight, offset) in zip(
        outputs, [(kernel, bias), (class_kernel, class_bias)], strict=True
    ):
        assert output.numpy().std(axis=0).min() > 0.01
        np.testing.assert_allclose(output, features @ weight + offset, rtol=1e-4, atol=1e-5)


def normalisation(channels):
    return 4 * channels


def convolution(size, inputs, outputs, bias=True):
    return size * size * inputs * outputs + bias * outputs


@pytest.mark.parametrize("depth", [1, 2])
def test_the_residual_pairs_parameters(depth):
    """At 28x28 and a width of 8: 16 channels at 7x7, 8 at 14x14."""

    def generator_block(inputs, outputs, size):
        first = normalisation(inputs) + convolution(size, inputs, outputs, bias=False)
        return first + normalisation(outputs) + convolution(3, outputs, outputs)

    def discriminator_block(inputs, outputs):
        return convolution(3, inputs, outputs) + convolution(3, outputs, outputs)

    more = depth - 1
    generator = 51 * 7 * 7 * 16  # latents and bias to the first feature map
    generator += more * generator_block(16, 16, 3) + more * generator_block(8, 8, 3)
    generator += generator_block(16, 8, 4) + convolution(1, 16, 8)  # it doubles the size
    generator += normalisation(8) + convolution(4, 8, 1)
    discriminator = convolution(5, 1, 8)
    discriminator += more * discriminator_block(8, 8) + more * discriminator_block(16, 16)
    discriminator += discriminator_block(8, 16) + convolution(1, 8, 16)  # it halves the size
    discriminator += 7 * 7 * 16 + 1
    g = residual.generator(latent_dim=50, image_shape=SHAPE, depth=depth, width=8)
    d = residual.discriminator(image_shape=SHAPE, depth=depth, width=8)
    assert (g.count_params(), d.count_params()) == (generator, discriminator)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("depth", [1, 2])
def test_the_residual_pair(depth, shape):
    generator = residual.generator(latent_dim=50, image_shape=shape, depth=depth, width=8)
    discriminator = residual.discriminator(
        image_shape=shape, depth=depth, width=8, spectral=True, group_size=2
    )
    blocks = [y for y in generator.layers if isinstance(y, keras.layers.Add)]
    assert len(blocks) == 2 * depth - 1
    linear = [y for y in discriminator.layers if isinstance(y, layers.Conv2D | layers.Dense)]
    assert len(linear) == 3 + 2 * (2 * depth - 1) and all(y.spectral for y in linear)
    keys = rng.example_keys(0, "test", 0, tf.range(4))
    images = generator(rng.normal(keys, [50]), training=True)
    assert images.shape == (4, *shape) and np.abs(images).max() <= 1
    assert discriminator(images, training=True).shape == (4, 1)
