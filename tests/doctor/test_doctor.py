"""The doctor on real, short trainings, each of which fails in the way that a rule names."""

from __future__ import annotations

import functools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import combinations
from support.doctor import (
    IMAGES,
    LABELS,
    adam,
    dense_discriminator,
    dense_generator,
    scripted,
)
from support.weights import assert_same, state

from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.doctor import rules
from trainer.doctor.doctor import Doctor
from trainer.doctor.state import DoctorState
from trainer.errors import TrainerError
from trainer.gan import augment, losses, optimizers
from trainer.models import conditional, dcgan

NOISE = np.random.default_rng(0).integers(0, 2, (216, 8, 8, 1), np.uint8) * 255
FROZEN = functools.partial(optimizers.sgd, learning_rate=0.0)


def noise_generator(*, latent_dim, image_shape):
    """Black and white at random, as NOISE is."""
    large = keras.initializers.RandomNormal(stddev=100.0, seed=1)
    body = [keras.layers.Dense(64, activation="tanh", kernel_initializer=large)]
    return keras.Sequential(
        [keras.Input([latent_dim]), *body, keras.layers.Reshape(image_shape)], name="generator"
    )


def make_trainer(strategy, images=IMAGES[:500], **settings):
    networks = {"generator": dense_generator, "discriminator": dense_discriminator}
    return combinations.make(strategy, images=images, **(networks | settings))


def make_doctor(trainer, images=IMAGES[:500], held_out=IMAGES[1500:], labels=None, **settings):
    def load(split):
        if split == "test" and held_out is None:
            raise TrainerError("no such split")
        part = {"train": images, "test": held_out}[split]
        return Examples(part, LABELS[: len(part)])

    dataset = Dataset(DatasetSpec("digits8", (8, 8, 1), 10), load)
    settings = {"patience": 2} | settings
    return Doctor(trainer=trainer, dataset=dataset, images=images, labels=labels, **settings)


def train_and_check(trainer, doctor, every, times):
    """Trains `every` steps and checks, several times; returns the reports, and the final state."""
    state, reports = DoctorState(), []
    for i in range(times):
        trainer.train(every)
        reports.append(doctor.check(state, (i + 1) * every))
    return reports, state


def alerts(reports):
    return [(alert.step, alert.rule.name) for report in reports for alert in report.alerts]


def blackened(trainer):
    kernel = trainer.generator.layers[-1].kernel
    kernel.assign(kernel * 1e4)


def whitened(trainer):
    trainer.generator.layers[-1].bias.assign([50.0])


STRONG = {
    "discriminator": functools.partial(dcgan.discriminator, dropout=0.0),
    "discriminator_optimizer": adam(2e-3),
}
TUTORIALS = {"generator": dcgan.generator, "discriminator": dcgan.discriminator}


@pytest.mark.parametrize(
    ("settings", "damage", "every", "expected"),
    [
        (
            {"generator": dcgan.generator, "generator_optimizer": FROZEN, **STRONG},
            None,
            10,
            [(40, "discriminator_wins")],
        ),
        (
            {"loss": losses.wasserstein, "discriminator_optimizer": adam(0.3)},
            None,
            20,
            [(40, "gradient_explodes")],
        ),
        (
            # A critic that hardly changes, whose maximum the generator moves to.
            {
                "loss": losses.wasserstein,
                "generator_optimizer": adam(3e-3),
                "discriminator_optimizer": adam(1e-5),
            },
            None,
            25,
            [(175, "collapse")],
        ),
        ({**TUTORIALS, "generator_optimizer": FROZEN}, blackened, 5, [(10, "saturated")]),
        (
            {**TUTORIALS, "generator_optimizer": FROZEN},
            whitened,
            5,
            [(10, "collapse"), (10, "dead_output"), (10, "saturated")],
        ),
    ],
    ids=["discriminator_wins", "gradient_explodes", "collapse", "saturated", "dead_output"],
)
def test_a_failure_is_named_once(make_strategy, settings, damage, every, expected):
    trainer = make_trainer(make_strategy(1), **settings)
    if damage:
        damage(trainer)
    reports, _ = train_and_check(trainer, make_doctor(trainer), every, 8)
    assert alerts(reports) == expected
    assert not reports[-1].healthy  # it lasts to the end, without another alert
    first = next(alert for report in reports for alert in report.alerts)
    step, name = expected[0]
    assert str(first).startswith(f"{name}: at step {step} ") and "; try " in str(first)
    entry = first.entry()
    assert (entry["step"], entry["alert"], entry["try"]) == (step, name, list(first.rule.remedies))
    assert entry["measured"] in str(first)


def test_a_discriminator_that_memorises_sixteen_images(make_strategy):
    settings = {"generator": noise_generator, "generator_optimizer": FROZEN, **STRONG}
    trainer = make_trainer(make_strategy(1), NOISE[:16], **settings)
    doctor = make_doctor(trainer, NOISE[:16], NOISE[16:])
    reports, _ = train_and_check(trainer, doctor, 25, 2)
    assert alerts(reports) == [(50, "memorising")]
    assert reports[-1].alerts[0].rule.remedies[0] == "hacks/adaptive_augment.gin"
    # The rule is about overfitting, not about a good discriminator: on all of NOISE it passes.
    trainer = make_trainer(make_strategy(1), NOISE, **settings)
    reports, _ = train_and_check(trainer, make_doctor(trainer, NOISE, NOISE), 25, 2)
    assert not alerts(reports)


def test_without_a_test_split_overfitting_is_not_measured(make_strategy):
    trainer = make_trainer(make_strategy(1))
    (report, _), _ = train_and_check(trainer, make_doctor(trainer, held_out=None), 2, 2)
    assert "overfitting" not in report.signals and "diversity" in report.signals


def test_the_test_split_is_loaded_once(make_strategy):
    trainer, loaded = make_trainer(make_strategy(1)), []

    def load(split):
        loaded.append(split)
        return Examples(IMAGES[:0], LABELS[:0])  # even where it is empty

    dataset = Dataset(DatasetSpec("digits8", (8, 8, 1), 10), load)
    doctor = Doctor(trainer=trainer, dataset=dataset, images=IMAGES[:500], labels=None)
    train_and_check(trainer, doctor, 1, 2)
    assert loaded == ["test"]


def test_a_few_steps_of_the_tutorials_gan_are_healthy(make_strategy):
    trainer = make_trainer(make_strategy(1), **TUTORIALS, generator_optimizer=adam(2e-3))
    reports, state = train_and_check(trainer, make_doctor(trainer), 25, 4)
    assert not alerts(reports)
    assert reports[-1].healthy and (state.healthy_step, state.num_checks) == (100, 4)


def test_an_alert_takes_patience_and_comes_once_an_episode(make_strategy):
    trainer = make_trainer(make_strategy(1))
    rules = [functools.partial(scripted, pattern="1101110111110")]
    doctor = make_doctor(trainer, rules=rules, patience=3)
    reports, state = train_and_check(trainer, doctor, 1, 13)
    assert [step for step, _ in alerts(reports)] == [6, 10]
    assert [i + 1 for i, report in enumerate(reports) if report.healthy] == [3, 7, 13]
    assert state.healthy_step == 13


def test_the_state_outlives_a_checkpoint_even_with_other_rules(make_strategy, tmp_path):
    trainer = make_trainer(make_strategy(1))
    _, state = train_and_check(trainer, make_doctor(trainer), 1, 3)
    state.class_counts = ([1, 2], [3, 4])
    path = tf.train.Checkpoint(doctor=state).save(str(tmp_path / "c"))
    restored = DoctorState()
    tf.train.Checkpoint(doctor=restored).restore(path).assert_existing_objects_matched()
    assert restored.serialize() == state.serialize()
    assert restored.rules["collapse"]["memory"]["diversity"] > 0
    rules = [functools.partial(scripted, pattern="1")]
    assert alerts([make_doctor(trainer, rules=rules, patience=1).check(restored, 4)])


@pytest.mark.slow
def test_replicas_raise_the_same_alerts(make_strategy):
    settings = {"generator": dcgan.generator, "generator_optimizer": FROZEN, **STRONG}
    one, four = (make_trainer(make_strategy(n), **settings) for n in (1, 4))
    (expected, _), (found, _) = (train_and_check(t, make_doctor(t), 10, 4) for t in (one, four))
    assert alerts(found) == alerts(expected) == [(40, "discriminator_wins")]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.signals == pytest.approx(theirs.signals, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            {
                "discriminator": functools.partial(
                    dcgan.discriminator, spectral=True, group_size=4
                ),
                "augmentations": [augment.DiffAugment, augment.AdaptiveAugment],
            },
            id="spectral",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "generator": conditional.generator,
                "discriminator": conditional.projection_discriminator,
                "conditional": True,
            },
            id="conditional",
        ),
    ],
)
def test_a_check_changes_no_state_and_traces_once(make_strategy, settings):
    checked, alone = (make_trainer(make_strategy(1), **settings) for _ in range(2))
    labels = LABELS[:500] if settings.get("conditional") else None
    train_and_check(checked, make_doctor(checked, labels=labels), 3, 3)
    alone.train(9)
    assert_same(state(checked), state(alone))
    inference = checked.inference
    for program in (inference._compiled_discriminate, inference._compiled_sample):
        assert program.experimental_get_tracing_count() == 1


def test_the_discriminator_is_in_inference_mode(make_strategy):
    trainer = make_trainer(
        make_strategy(1), discriminator=dcgan.discriminator, augmentations=[augment.DiffAugment]
    )
    images = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype(np.float32)
    expected = trainer.discriminator(images, training=False).numpy()[:, 0]
    np.testing.assert_allclose(trainer.inference.discriminate(images), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, r"Doctor\.every=0 must be at least 1"),
        ({"patience": 0}, r"Doctor\.patience=0 must be at least 1"),
        ({"num_images": 1}, r"Doctor\.num_images=1 must be at least 2"),
        ({"rules": [rules.collapse] * 2}, r"Doctor\.rules lists collapse twice"),
    ],
)
def test_settings_that_break_a_rule(make_strategy, settings, message):
    trainer = make_trainer(make_strategy(1))
    with pytest.raises(TrainerError, match=message):
        make_doctor(trainer, **settings)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("absl").setLevel(logging.WARNING)
