from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import rng
from trainer.errors import TrainerError
from trainer.gan import replay
from trainer.gan.networks import Networks

COUNT = 400


def generator():
    """Images of a dense layer whose weights are 0."""
    x = keras.Input([1])
    layer = keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer="zeros")
    return keras.Model(x, keras.layers.Reshape((2, 2, 1))(layer(x)))


def make(kind, conditional=False, **settings):
    inputs = [keras.Input([1])] * (2 if conditional else 1)
    model = keras.Model(inputs, inputs)
    networks = Networks(
        generator=model,
        discriminator=model,
        generator_ema=model,
        generator_optimizer=None,
        discriminator_optimizer=None,
        build_generator=generator,
        latent_dim=1,
        dtype="float32",
        kernels=(),
    )
    return kind(networks, (2, 2, 1), **settings)


def images(value, count=COUNT):
    return tf.fill([count, 2, 2, 1], float(value))


def mix(memory, step, fake):
    def generate(model):
        return model(tf.ones([len(fake), 1]))

    with rng.key_scope(rng.example_keys(0, "test", step, tf.range(len(fake)))):
        return memory.mix(fake, generate).numpy()


def push(memory, step, fake=None, model=None):
    fake = images(step) if fake is None else fake
    memory.push(fake, model, tf.constant(step, tf.int64), lambda part, count: part[:count])


def near(share, expected):
    return abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / COUNT)


def test_the_pool_replays_a_share_of_what_it_holds():
    memory = make(replay.ImagePool, share=0.5, size=8, each_step=2)
    assert (mix(memory, 0, images(-1)) == -1).all()  # it is empty
    for step in range(2):
        push(memory, step)
    shown = mix(memory, 2, images(-1))[:, 0, 0, 0]
    assert near((shown == -1).mean(), 0.75)  # half of the buffer is still empty
    for step in range(2, 6):
        push(memory, step)
    shown = mix(memory, 6, images(-1))
    assert (shown == shown[:, :1, :1]).all()
    values, counts = np.unique(shown[:, 0, 0, 0], return_counts=True)
    assert values.tolist() == [-1, 2, 3, 4, 5]  # the newest four steps' fakes
    assert near(counts[0] / COUNT, 0.5) and counts[1:].min() > COUNT / 16


def test_the_pool_keeps_the_first_of_a_batch():
    memory = make(replay.ImagePool, size=4, each_step=2)
    push(memory, 0, tf.reshape(tf.range(16.0), [4, 2, 2, 1]))
    held = memory.variables[0].numpy().reshape(4, 4)
    np.testing.assert_array_equal(held, [[0, 1, 2, 3], [4, 5, 6, 7], [0] * 4, [0] * 4])
    assert memory.variables[1].numpy() == 2


def test_the_past_generator_is_a_copy_of_some_time_ago():
    memory = make(replay.PastGenerator, share=0.25, period=3)
    today = generator()
    for step in range(5):
        today.layers[1].bias.assign(tf.fill([4], 1.0 + step))
        push(memory, step, model=today)
    shown = mix(memory, 5, images(-1))[:, 0, 0, 0]
    assert set(shown) == {-1.0, 4.0}  # of step 3
    assert near((shown == 4).mean(), 0.25)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (replay.ImagePool, {"share": 1.0}, r"ImagePool\.share=1\.0 must be in \(0, 1\)"),
        (replay.ImagePool, {"size": 10, "each_step": 3}, "=10 must be a multiple of each_step=3"),
        (replay.ImagePool, {"conditional": True}, "without the labels .*PastGenerator"),
        (replay.PastGenerator, {"share": 0.0}, r"PastGenerator\.share=0\.0"),
        (replay.PastGenerator, {"period": 0}, r"period=0 must be at least 1"),
    ],
)
def test_settings_out_of_range(kind, settings, message):
    with pytest.raises(TrainerError, match=message):
        make(kind, **settings)
