from __future__ import annotations

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.gan import IMAGES, make_trainer, operations, relative_error, weights

from trainer import rng
from trainer.data.batches import normalise
from trainer.errors import TrainerError
from trainer.gan import losses, optimizers, replay
from trainer.gan.replica_step import METRICS
from trainer.models import conditional, dcgan


@pytest.fixture(scope="module")
def one_replica(make_strategy):
    """Trained for four steps, and its metrics."""
    trainer = make_trainer(make_strategy(1))
    return trainer, trainer.train(4)


def test_each_step_is_the_tutorials(make_strategy):
    """Three steps against the tutorial's own calls: two compiled Keras models, train_on_batch.

    Dropout is off on both sides, since the tutorial's masks cannot be drawn again.
    """
    discriminator = functools.partial(dcgan.discriminator, dropout=0.0)
    trainer = make_trainer(make_strategy(1), discriminator=discriminator)
    theirs_g = keras.models.clone_model(trainer.generator)
    # The tutorial's batch normalisation, not the trainer's synchronised one.
    theirs_d = keras.Sequential(
        [keras.models.clone_model(trainer.discriminator), keras.layers.Activation("sigmoid")]
    )
    theirs_g.set_weights(trainer.generator.get_weights())
    theirs_d.set_weights(trainer.discriminator.get_weights())
    adam = functools.partial(keras.optimizers.Adam, learning_rate=0.0002, beta_1=0.5)
    theirs_d.compile(loss="binary_crossentropy", optimizer=adam())
    theirs_d.trainable = False
    gan = keras.Sequential([theirs_g, theirs_d])
    gan.compile(loss="binary_crossentropy", optimizer=adam())

    def noise(phase, step):
        keys = rng.example_keys(0, f"latents/{phase}", step, tf.range(16))
        return rng.normal(keys, [50])

    for step, indices in enumerate(trainer.batch_sampler.indices(0, 3)):
        mixed = tf.concat([theirs_g(noise(1, step)), normalise(IMAGES[indices])], axis=0)
        theirs_d.trainable = True
        loss_d = theirs_d.train_on_batch(mixed, tf.constant([[0.0]] * 16 + [[1.0]] * 16))
        theirs_d.trainable = False
        loss_g = gan.train_on_batch(noise(2, step), tf.constant([[1.0]] * 16))
        metrics = trainer.train(1)
        np.testing.assert_allclose(metrics["loss/discriminator"], loss_d, rtol=1e-4)
        if step == 0:  # afterwards Keras reports a running mean
            np.testing.assert_allclose(metrics["loss/generator"], loss_g, rtol=1e-4)
    theirs = [*theirs_g.variables, *theirs_d.variables]
    assert relative_error(weights(trainer), [v.numpy() for v in theirs]) < 2e-4


def test_the_default_strategy_trains_on_one_device(one_replica):
    _, expected = one_replica
    assert make_trainer(tf.distribute.get_strategy()).train(4) == pytest.approx(expected, rel=1e-6)


def test_metrics_are_means_over_the_steps_of_a_call(make_strategy, one_replica):
    _, metrics = one_replica
    trainer = make_trainer(make_strategy(1))
    each = [trainer.train(1) for _ in range(4)]
    assert tuple(metrics) == METRICS
    for name in METRICS:
        values = [single[name] for single in each]
        assert len(set(values)) > 1, name
        assert metrics[name] == pytest.approx(np.mean(values), rel=1e-6), name


def test_replicas_change_nothing(make_strategy):
    # In float64: in float32 one activation at LeakyReLU's kink may part two summation orders.
    one, four = (make_trainer(make_strategy(n), precision="float64") for n in (1, 4))
    expected_metrics, metrics = one.train(4), four.train(4)
    for name in METRICS:
        assert metrics[name] == pytest.approx(expected_metrics[name], rel=1e-12), name
    assert relative_error(weights(four), weights(one)) < 1e-10


def test_steps_per_call_change_nothing(make_strategy, one_replica):
    expected, _ = one_replica
    trainer = make_trainer(make_strategy(1))
    trainer.train(1)
    trainer.train(3)
    assert trainer._compiled_loop.experimental_get_tracing_count() == 1
    assert trainer.step.numpy() == 4
    assert relative_error(weights(trainer), weights(expected)) == 0


def test_seed_changes_everything(make_strategy, one_replica):
    expected, _ = one_replica
    trainer = make_trainer(make_strategy(1), seed=1)
    assert relative_error(weights(trainer), weights(expected)) > 0.1
    assert not np.allclose(trainer.inference.latents(4), expected.inference.latents(4))


def test_another_stream_changes_all_but_weights_and_samples(make_strategy, one_replica):
    expected, _ = one_replica
    ours, again = (make_trainer(make_strategy(1)) for _ in range(2))
    before = ours.batch_sampler.indices(0, 1)
    for trainer in (ours, again):
        trainer.train(2)
        trainer.reseed(1)
        trainer.train(2)
    assert relative_error(weights(again), weights(ours)) == 0
    assert relative_error(weights(ours), weights(expected)) > 1e-3
    assert not np.array_equal(ours.batch_sampler.indices(0, 1), before)
    np.testing.assert_array_equal(ours.inference.latents(4), expected.inference.latents(4))
    ours.reseed(0)
    np.testing.assert_array_equal(ours.batch_sampler.indices(0, 1), before)


def test_the_last_metrics_are_of_the_last_step(make_strategy, one_replica):
    calls = make_trainer(make_strategy(1))
    calls.train(3)
    assert calls.train(1) == one_replica[0].last_metrics == calls.last_metrics


def test_samples_are_in_range_and_repeatable(one_replica):
    trainer, _ = one_replica
    images = trainer.inference.sample(trainer.inference.latents(5))
    assert images.shape == (5, 28, 28, 1)
    assert np.abs(images).max() <= 1
    np.testing.assert_array_equal(images, trainer.inference.sample(trainer.inference.latents(5)))
    np.testing.assert_array_equal(trainer.inference.latents(5), trainer.inference.latents(9)[:5])


def test_every_variable_is_in_the_checkpoint_once(make_strategy):
    """Counted by hand, of the tutorial's GAN with an average and a replay buffer.

    Its generator has 3 kernels and biases and 2 batch normalisations of 4 variables, its
    discriminator 3 kernels and biases. Adam keeps a step count and 2 slots of what is trained.
    """
    trainer = make_trainer(make_strategy(1), ema_half_life=100, replay=replay.ImagePool)
    counts = {
        "step": 1,
        "generator": 6 + 8,
        "discriminator": 6,
        "generator_optimizer": 1 + 2 * (6 + 4),
        "discriminator_optimizer": 1 + 2 * 6,
        "generator_ema": 6 + 8,
        "replay": 2,
    }
    variables = {
        name: [item] if name == "step" else getattr(item, "variables", item)
        for name, item in trainer.checkpoint_items.items()
    }
    assert {name: len(found) for name, found in variables.items()} == counts
    every = [v for found in variables.values() for v in found]
    distinct = {id(v.value if isinstance(v, keras.Variable) else v) for v in every}
    assert len(distinct) == len(every)


def test_an_embeddings_gradient_is_summed_over_equal_labels(make_strategy):
    """A step of plain descent at rate 1 is the gradient, so both have the same norm."""
    sgd = functools.partial(optimizers.sgd, learning_rate=1.0)
    trainer = make_trainer(
        make_strategy(1),
        generator=conditional.embedding_generator,
        discriminator=conditional.projection_discriminator,
        conditional=True,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
    )
    models = {"generator": trainer.generator, "discriminator": trainer.discriminator}
    before = {k: [v.numpy() for v in m.trainable_variables] for k, m in models.items()}
    metrics = trainer.train(1)
    for name, model in models.items():
        steps = zip(model.trainable_variables, before[name], strict=True)
        norm = np.sqrt(sum(np.square(v.numpy() - old).sum() for v, old in steps))
        assert metrics[f"gradient_norm/{name}"] == pytest.approx(norm, rel=1e-3)


def test_nothing_is_traced_after_the_first_call(make_strategy):
    traces = []
    inner = losses.binary_cross_entropy()

    def counting(real_logits, fake_logits):
        traces.append(None)  # Python runs only while the step is traced
        return inner.generator(real_logits, fake_logits)

    trainer = make_trainer(make_strategy(1), loss=lambda: inner._replace(generator=counting))
    trainer.train(2)
    first = len(traces)
    for num_steps in (1, 3, 2):
        trainer.train(num_steps)
    assert len(traces) == first > 0


HOST_OPS = re.compile(
    "PyFunc|Print|Assert|Summary|File|Checkpoint|Save|Restore|Merge.*Bundle|Iterator|Dataset|Reader"
)


@pytest.mark.parametrize("num_replicas", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_the_host_has_no_part_in_a_call(make_strategy, num_replicas):
    """Images, checkpoints, summaries and evaluation happen between calls: no op of theirs."""
    trainer = make_trainer(make_strategy(num_replicas), ema_half_life=100)
    ops = operations(trainer._compiled_loop)
    assert {"StatelessWhile", "While"} & ops and "AssignAddVariableOp" in ops  # it is all there
    assert not [op for op in ops if HOST_OPS.search(op)]


def test_a_host_operation_would_be_found():
    @tf.function
    def inner(x):
        tf.print(x)
        return tf.numpy_function(lambda y: y, [x], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def outer(x):
        for _ in tf.range(3):
            x = tf.ensure_shape(inner(x), [])
        return x

    found = {op for op in operations(outer) if HOST_OPS.search(op)}
    assert {"PrintV2", "PyFunc"} <= found


def test_divergence_names_the_step_and_the_loss(make_strategy):
    # A learning rate of 1e30 leaves finite losses in the first step, and none afterwards.
    trainer = make_trainer(
        make_strategy(1), generator_optimizer=lambda: optimizers.adam(learning_rate=1e30)
    )
    with pytest.raises(TrainerError, match=r"^step 2: \S+ is (nan|inf); training stopped"):
        trainer.train(3)


@pytest.mark.parametrize(("batch_size", "nearest"), [(18, "16, 20"), (3, "4"), (103, "100, 104")])
def test_a_batch_that_replicas_cannot_share_is_refused(make_strategy, batch_size, nearest):
    with pytest.raises(TrainerError, match=f"={batch_size} .* 4 replicas; .* can: {nearest}$"):
        make_trainer(make_strategy(4), batch_size=batch_size)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, r"seed=-1 must be an integer in \[0, 4294967296\)"),
        ({"batch_size": 0}, "batch_size=0 must be an integer of at least 1"),
        ({"batch_size": 101}, "more than the dataset's 100 examples"),
        ({"batch_size": 52, "discriminator_steps": 2}, "=104 is more than the dataset's 100"),
        (
            {"generator": functools.partial(conditional.generator, num_classes=10)},
            "conditional=False, but this generator uses labels; choose two models of one kind",
        ),
        (
            {"discriminator": conditional.projection_discriminator},
            "conditional=False, but projection_discriminator needs num_classes",
        ),
        (
            {"conditional": True},
            "conditional=True, but generator does not take num_classes",
        ),
        (
            {"generator": lambda latent_dim: None},
            "does not take image_shape; the trainer calls it with latent_dim, image_shape",
        ),
        (
            {"discriminator": lambda image_shape: _model(image_shape, keras.layers.LeakyReLU())},
            r"returns \(28, 28, 1\) .* need \(1,\)",
        ),
        (
            {"discriminator": lambda image_shape: _model(image_shape, keras.layers.Dropout(0.4))},
            "draws the same numbers on every replica",
        ),
    ],
)
def test_settings_that_break_a_rule(make_strategy, settings, message):
    with pytest.raises(TrainerError, match=message):
        make_trainer(make_strategy(1), **settings)


def _model(image_shape, layer):
    return keras.Sequential([keras.Input(image_shape), layer])


def test_bfloat16_trains_float32_weights(make_strategy):
    trainer = make_trainer(make_strategy(1), precision="mixed_bfloat16")
    metrics = trainer.train(2)
    assert all(np.isfinite(v) for v in metrics.values())
    assert {w.dtype for w in weights(trainer)} == {np.dtype("float32")}
    assert {layer.compute_dtype for layer in trainer.discriminator.layers} == {"bfloat16"}
    assert trainer.inference.sample(trainer.inference.latents(4)).dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"
    # bfloat16 keeps eight bits: an error of 0.4 % in each operation.
    full = make_trainer(make_strategy(1)).train(2)
    for name in ("loss/discriminator", "loss/generator"):
        assert metrics[name] == pytest.approx(full[name], rel=0.02)
        assert metrics[name] != full[name]


def test_an_unknown_precision_is_refused(make_strategy):
    with pytest.raises(TrainerError, match=r"precision='float16' .*mixed_bfloat16"):
        make_trainer(make_strategy(1), precision="float16")
