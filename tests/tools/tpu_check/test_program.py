"""Lowering needs TensorFlow alone: the program for a TPU, and what is refused before."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.errors import TrainerError
from trainer.gan.trainer import GanConfig, GanTrainer
from trainer.kernels.selection import choose
from trainer.models import dcgan
from trainer.tools.tpu_check.program import XlaReplicas, lower

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
NUM_REPLICAS = 4


def make_trainer(discriminator=dcgan.discriminator):
    config = GanConfig(
        generator=dcgan.generator,
        discriminator=discriminator,
        batch_size=16,
        ema_half_life=100,
    )
    return GanTrainer(config, strategy=XlaReplicas(NUM_REPLICAS), images=IMAGES)


@pytest.fixture(scope="module")
def trainer():
    return make_trainer()


@pytest.fixture(scope="module")
def program(trainer):
    return lower(trainer)


def test_the_kernels_are_those_of_a_tpu():
    assert choose(None, XlaReplicas(8), "mixed_bfloat16") == ()
    assert choose(["fused_dropout"], XlaReplicas(8), "float32") == ("fused_dropout",)


def test_all_state_is_a_parameter_and_what_changes_an_output(trainer, program):
    networks = trainer.networks
    models = (networks.generator, networks.discriminator, networks.generator_ema)
    weights = {id(v.value) for model in models for v in model.variables}
    position = {id(v): i for i, v in enumerate(program.state)}
    assert weights <= position.keys()
    assert {position[i] for i in weights} <= program.updated.keys()
    (images,) = [i for i, v in enumerate(program.state) if v.dtype == tf.uint8]
    assert images not in program.updated  # the dataset is read, and never sent back


def test_gradients_metrics_and_statistics_are_summed_over_all_replicas(trainer, program):
    models = (trainer.generator, trainer.discriminator)
    gradients = sum(4 * np.prod(v.shape) for m in models for v in m.trainable_variables)
    # In three passes of the generator, one backward: sums and sums of squares of 128 and 64
    # channels and a count; and the means of four metrics.
    assert 4 * 4 + gradients < program.all_reduced < 1.05 * gradients
    groups = program.text.count("replica_groups = dense<[[0, 1, 2, 3]]>")
    assert groups == program.text.count("stablehlo.all_reduce") > 0
    assert "stablehlo.replica_id" in program.text


def test_a_step_takes_only_numbers_from_the_host(program):
    assert program.from_host == 16 * 4 + 8
    assert "mhlo.copy" not in program.text
    assert program.num_operations > 1000


def with_layer(function):
    """A discriminator that begins with `function` of its images."""

    class Foreign(keras.layers.Layer):
        def call(self, inputs):
            return function(inputs)

    def discriminator(*, image_shape):
        layers = [keras.Input(image_shape), Foreign(), keras.layers.Flatten()]
        return keras.Sequential([*layers, keras.layers.Dense(1)], name="discriminator")

    return discriminator


def on_the_host(images):
    same = tf.py_function(lambda x: x, [images], images.dtype)
    return tf.ensure_shape(same, images.shape)


def of_bright_images(images):
    bright = tf.boolean_mask(images, tf.reduce_mean(images, [1, 2, 3]) > -2)
    return tf.ensure_shape(tf.concat([bright, images], 0)[: tf.shape(images)[0]], images.shape)


def line_of(function, text):
    source = Path(__file__).read_text().splitlines()
    first = function.__code__.co_firstlineno
    return next(i for i in range(first, len(source)) if text in source[i - 1])


def test_an_operation_of_the_host_is_named_with_its_line():
    trainer = make_trainer(with_layer(on_the_host))
    line = line_of(on_the_host, "tf.py_function")
    with pytest.raises(TrainerError, match=rf"EagerPyFunc '.*test_program\.py:{line}") as caught:
        lower(trainer)
    assert "\n" not in str(caught.value)


def test_a_shape_that_depends_on_the_data_is_named_with_its_line():
    trainer = make_trainer(with_layer(of_bright_images))
    line = line_of(of_bright_images, "tf.boolean_mask")
    with pytest.raises(TrainerError, match=rf"depends on the data.*test_program\.py:{line}"):
        lower(trainer)


def test_tf_print_in_a_model_is_refused():
    def noisy(images):
        tf.print("images", tf.shape(images))
        return images

    with pytest.raises(TrainerError, match=r"StringFormat .*test_program\.py"):
        lower(make_trainer(with_layer(noisy)))
