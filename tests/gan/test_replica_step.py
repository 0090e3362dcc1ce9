"""Single steps of GANs of a few numbers, against the same steps worked out by hand in NumPy.

Images have one pixel. The generator makes images of one value g, its only weight, whatever the
latents. The discriminator's logit of an image x is w x + c, or w x^2 + c. All are trained by plain
gradient descent.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import combinations

from trainer.errors import TrainerError
from trainer.gan import losses, optimizers, penalties, replay, schedules
from trainer.gan.augment import Augmentation
from trainer.gan.losses import GanLoss

RATE = 0.125
G, W, C = -1.5, 2.0, 0.5
PIXELS = [0, 255, 255, 204]
X = np.array([-1.0, 1.0, 1.0, 0.6])
"""PIXELS in [-1, 1]; the discriminator's logits are -1.5, 2.5, 2.5 and 1.7, and -2.5 of a fake."""
G_OF_LABEL = [-1.5, 0.5]
CLASS_KERNEL = [[0.3, -0.2]]


def fixed(values):
    """An initializer."""
    return lambda shape, dtype: tf.constant(values, dtype)


class OneValue(keras.layers.Layer):
    """Latents [B, Z] -> images [B, 1, 1, 1] of one value, the layer's weight."""

    def build(self, input_shape):
        self.g = self.add_weight(shape=[], initializer=fixed(G))

    def call(self, latents):
        return tf.broadcast_to(tf.convert_to_tensor(self.g), [tf.shape(latents)[0], 1, 1, 1])


class ValueOfLabel(keras.layers.Layer):
    """Latents [B, Z] and labels [B] -> images [B, 1, 1, 1] of one value for each of two labels."""

    def build(self, latents_shape, labels_shape):
        self.g = self.add_weight(shape=[2], initializer=fixed(G_OF_LABEL))

    def call(self, latents, labels):
        return tf.reshape(tf.gather(tf.convert_to_tensor(self.g), labels), [-1, 1, 1, 1])


def generator(*, latent_dim, image_shape):
    return keras.Sequential([keras.Input([latent_dim], dtype="float64"), OneValue()])


def generator_of_labels(*, latent_dim, image_shape, num_classes):
    latents, labels = keras.Input([latent_dim], dtype="float64"), keras.Input([], dtype="int32")
    return keras.Model([latents, labels], ValueOfLabel()(latents, labels))


def discriminator(*, image_shape, power=1):
    images = keras.Input(image_shape, dtype="float64")
    x = keras.layers.Multiply()([images] * power) if power > 1 else images
    return keras.Model(images, _dense([[W]], [C])(keras.layers.Flatten()(x)))


def classifying_discriminator(*, image_shape, num_classes):
    images = keras.Input(image_shape, dtype="float64")
    x = keras.layers.Flatten()(images)
    return keras.Model(images, [_dense([[W]], [C])(x), _dense(CLASS_KERNEL, [0.0, 0.0])(x)])


def _dense(kernel, bias):
    return keras.layers.Dense(
        len(bias),
        kernel_initializer=fixed(kernel),
        bias_initializer=fixed(bias),
    )


def make(strategy, pixels=PIXELS, labels=None, **settings):
    descent = functools.partial(optimizers.sgd, learning_rate=RATE)
    defaults = {
        "generator": generator,
        "discriminator": discriminator,
        "generator_optimizer": descent,
        "discriminator_optimizer": descent,
        "loss": losses.wasserstein,
        "batch_size": len(pixels),
        "precision": "float64",
    }
    images = np.array(pixels, np.uint8).reshape(-1, 1, 1, 1)
    num_classes = None if labels is None else 2
    return combinations.make(
        strategy, images=images, labels=labels, num_classes=num_classes, **(defaults | settings)
    )


def state(trainer):
    """g, w and c."""
    models = (trainer.generator, trainer.discriminator)
    return [v.numpy().item() for model in models for v in model.trainable_variables]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cross_entropy(logits, label):
    return np.logaddexp(0, logits) - label * logits


class Shift(Augmentation):
    """Adds 0.25 in the first step, and half of that in the second."""

    def __call__(self, images, step):
        return images + 0.25 / tf.cast(step + 1, images.dtype)


@pytest.mark.parametrize("num_replicas", [1, 4])
@pytest.mark.parametrize(("augmentations", "shift"), [([], 0.0), ([Shift], 0.25)])
def test_binary_cross_entropy(make_strategy, num_replicas, augmentations, shift):
    loss = functools.partial(losses.binary_cross_entropy, real_label=0.875, fake_label=0.25)
    trainer = make(make_strategy(num_replicas), loss=loss, augmentations=augmentations)
    g, w, c = G, W, C
    for step in range(2):
        metrics = trainer.train(1)
        shifted = shift / (step + 1)
        x, y = X + shifted, g + shifted
        real, fake = w * x + c, w * y + c
        loss_d = np.mean(cross_entropy(real, 0.875) + cross_entropy(fake, 0.25)) / 2
        d_real, d_fake = (sigmoid(real) - 0.875) / 2, (sigmoid(fake) - 0.25) / 2
        d_w, d_c = np.mean(d_real * x + d_fake * y), np.mean(d_real + d_fake)
        w, c = w - RATE * d_w, c - RATE * d_c
        d_g = (sigmoid(w * y + c) - 1) * w
        g = g - RATE * d_g
        np.testing.assert_allclose(state(trainer), [g, w, c], rtol=1e-12)
        assert metrics == pytest.approx(
            {
                "loss/discriminator": loss_d,
                "accuracy/real": 0.75,
                "accuracy/fake": 1.0,
                "loss/generator": cross_entropy(w * y + c, 1.0),
                "gradient_norm/discriminator": np.hypot(d_w, d_c),
                "gradient_norm/generator": abs(d_g),
            },
            rel=1e-12,
        )


def test_relativistic_loss(make_strategy):
    """Each fake is compared with one real image; c has no part in it."""
    trainer = make(make_strategy(1), loss=losses.relativistic_paired)
    metrics = trainer.train(1)
    w = W - RATE * np.mean(sigmoid(W * (G - X)) * (G - X))
    d_g = np.mean(-sigmoid(w * (X - G)) * w)
    np.testing.assert_allclose(state(trainer), [G - RATE * d_g, w, C], rtol=1e-12)
    loss = np.mean(np.logaddexp(0, w * (X - G)))
    assert metrics["loss/generator"] == pytest.approx(loss, rel=1e-12)


def test_both_zero_centred_penalties(make_strategy):
    """The gradient of w x^2 is 2 w x, so that a penalty of gamma/2 grows by 4 gamma w x^2 in w."""
    trainer = make(
        make_strategy(1),
        discriminator=functools.partial(discriminator, power=2),
        penalties=[
            functools.partial(penalties.r1, gamma=0.5),
            functools.partial(penalties.r2, gamma=0.125),
        ],
    )
    metrics = trainer.train(1)
    real, fake = np.mean(X**2), G**2
    w = W - RATE * (fake - real + 4 * 0.5 * W * real + 4 * 0.125 * W * fake)
    np.testing.assert_allclose(state(trainer), [G + RATE * 2 * w * G, w, C], rtol=1e-12)
    assert metrics["loss/discriminator"] == pytest.approx(W * (fake - real), rel=1e-12)


def test_gradient_penalty_with_a_schedule(make_strategy):
    """The gradient of w x + c is w wherever it is taken. The weight is 0, and 3 from step 1 on."""
    schedule = schedules.WarmUp(value=3.0, steps=1)
    penalty = functools.partial(penalties.gradient_penalty, weight=schedule)
    trainer = make(make_strategy(1), penalties=[penalty])
    trainer.train(3)
    g, w = G, W
    for weight in (0, 3, 3):
        w -= RATE * (g - np.mean(X) + 2 * weight * (w - 1))
        g += RATE * w
    np.testing.assert_allclose(state(trainer), [g, w, C], rtol=1e-9)


@pytest.mark.parametrize("num_replicas", [1, 4])
@pytest.mark.parametrize("weight", [3.0, 0.0])
def test_auxiliary_classifier(make_strategy, num_replicas, weight):
    labels = np.array([0, 0, 1, 0], np.int32)
    trainer = make(
        make_strategy(num_replicas),
        labels=labels,
        conditional=True,
        generator=generator_of_labels,
        discriminator=classifying_discriminator,
        auxiliary_weight=weight,
    )
    trainer.train(1)

    def of_logits(x, y, kernel, bias):
        """The gradient of the mean cross-entropy with respect to the class logits, [B, 2]."""
        logits = np.outer(x, kernel) + bias
        exponentials = np.exp(logits)
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return (probabilities - np.eye(2)[y]) / len(x)

    fake = np.array(G_OF_LABEL)[labels]
    kernel, bias = np.array(CLASS_KERNEL[0]), np.zeros(2)
    both = np.concatenate([fake, X])
    gradient = of_logits(both, np.tile(labels, 2), kernel, bias)
    kernel = kernel - RATE * weight * both @ gradient
    bias = bias - RATE * weight * gradient.sum(axis=0)
    w = W - RATE * np.mean(fake - X)
    gradient = weight * of_logits(fake, labels, kernel, bias) @ kernel - w / len(fake)
    g = [G_OF_LABEL[y] - RATE * gradient[labels == y].sum() for y in (0, 1)]
    trained = [v.numpy().ravel() for v in trainer.discriminator.trainable_variables]
    for ours, expected in zip(trained, [w, C, kernel, bias], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(trainer.generator.trainable_variables[0].numpy(), g, rtol=1e-12)


class Recorder:
    """A penalty of 0 that records the images of each of the discriminator's batches."""

    def __init__(self):
        self.real, self.fake = [], []

    def __call__(self):
        return self._penalty

    def _penalty(self, inputs):
        def record(real, fake):
            self.real.append(real.ravel())
            self.fake.append(fake.ravel())
            return np.zeros(len(real))

        return tf.ensure_shape(
            tf.numpy_function(record, [inputs.real, inputs.fake], tf.float64),
            [inputs.real.shape[0]],
        )


def noise_generator(*, latent_dim, image_shape):
    """Latents of one number, as images."""
    flat = keras.layers.Dense(1, kernel_initializer="ones")
    return keras.Sequential(
        [keras.Input([latent_dim], dtype="float64"), flat, keras.layers.Reshape((1, 1, 1))]
    )


def test_each_of_the_discriminators_turns_has_a_batch_and_latents_of_its_own(make_strategy):
    pixels = [0, 3, 7, 20, 50, 90, 160, 255]
    x = np.array(pixels) / 127.5 - 1
    recorder = Recorder()
    trainer = make(
        make_strategy(1),
        pixels,
        batch_size=4,
        discriminator_steps=2,
        generator=noise_generator,
        latent_dim=1,
        penalties=[recorder],
    )
    trainer.train(1)
    assert [len(batch) for batch in recorder.real] == [4, 4]
    np.testing.assert_allclose(np.sort(np.concatenate(recorder.real)), x, rtol=1e-12)
    assert len(np.unique(np.concatenate(recorder.fake).round(9))) == 8
    # Each turn adds the rate times the mean of its reals minus that of its fakes to w.
    w = W + RATE * 2 * (np.mean(x) - np.mean(recorder.fake))
    np.testing.assert_allclose(state(trainer)[-2], w, rtol=1e-12)


@pytest.mark.parametrize("num_replicas", [1, 4])
def test_an_augmentation_observes_the_mean_sign_of_real_logits(make_strategy, num_replicas):
    class Observer(Augmentation):
        def __init__(self):
            self.seen = keras.Variable([0.0, 0.0], trainable=False, dtype="float64")
            self.variables = (self.seen.value,)

        def observe(self, real_sign, batch_size):
            self.seen.assign(tf.stack([real_sign(), tf.cast(batch_size, tf.float64)]))

    trainer = make(make_strategy(num_replicas), augmentations=[Observer])
    trainer.train(1)
    (variable,) = trainer.checkpoint_items["augmentation_0"]
    np.testing.assert_array_equal(variable.numpy(), [0.5, 4])  # one real of four is below 0


def test_the_pool_keeps_the_current_fakes_and_the_discriminator_sees_earlier_ones(make_strategy):
    count, share, x = 64, 0.75, 200 / 127.5 - 1
    recorder = Recorder()
    trainer = make(
        make_strategy(1),
        [200] * count,
        replay=functools.partial(replay.ImagePool, share=share, size=2 * count, each_step=count),
        penalties=[recorder],
    )
    made = []
    for _ in range(3):
        g, w, _ = state(trainer)
        made.append(g)
        loss = trainer.train(1)["loss/discriminator"]
        assert loss == pytest.approx(w * (np.mean(recorder.fake[-1]) - x), rel=1e-9)
    assert len(set(made)) == 3
    pool = trainer.checkpoint_items["replay"][0].numpy().reshape(2, count)
    np.testing.assert_array_equal(pool, [[made[2]] * count, [made[1]] * count])
    assert set(recorder.fake[0]) == {made[0]}
    assert set(recorder.fake[2]) == set(made)
    earlier = np.mean(recorder.fake[2] != made[2])
    assert abs(earlier - share) < 4 * np.sqrt(share * (1 - share) / count)


def test_the_moving_average_and_its_samples(make_strategy):
    batch, half_life = len(PIXELS), 2
    trainer = make(make_strategy(1), ema_half_life=half_life)
    average = G
    for step in range(15):
        trainer.train(1)
        kept = 0.5 ** (batch / min(half_life, 0.05 * batch * (step + 1)))
        average = kept * average + (1 - kept) * state(trainer)[0]
    sample = trainer.inference.sample(trainer.inference.latents(2))
    np.testing.assert_allclose(sample.ravel(), [average] * 2, rtol=1e-12)
    assert abs(average - state(trainer)[0]) > 0.01


@pytest.mark.parametrize("mean", [tf.reduce_mean, lambda logits: logits])
def test_a_loss_that_is_not_one_number_per_example_is_refused(make_strategy, mean):
    loss = GanLoss(lambda real, fake: mean(fake - real), lambda real, fake: -fake[:, 0])
    with pytest.raises(TrainerError, match=r"one number per example, \[B\]"):
        make(make_strategy(1), loss=lambda: loss).train(1)
