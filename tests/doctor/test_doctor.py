"""The doctor on real, short trainings, each of which fails in the way that a rule names."""

from __future__ import annotations

import functools
import logging

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from support.combinations import ARTICLE
from support.weights import assert_same, state

from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.doctor import rules
from trainer.doctor.doctor import Doctor
from trainer.doctor.rules import Rule, Violation
from trainer.doctor.state import DoctorState
from trainer.errors import TrainerError
from trainer.gan import augment, losses, optimizers
from trainer.gan.trainer import GanTrainer
from trainer.models import conditional, dcgan

DIGITS = sklearn.datasets.load_digits()
IMAGES = (DIGITS.images[..., np.newaxis] * 255 / 16).astype(np.uint8)
LABELS = DIGITS.target.astype(np.int32)
NOISE = np.random.default_rng(0).integers(0, 2, (216, 8, 8, 1), np.uint8) * 255
STILL = functools.partial(optimizers.sgd, learning_rate=0.0)


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


def noise_generator(*, latent_dim, image_shape):
    """Black and white at random, as NOISE is."""
    wide = keras.initializers.RandomNormal(stddev=100.0, seed=1)
    body = [keras.layers.Dense(64, activation="tanh", kernel_initializer=wide)]
    return keras.Sequential(
        [keras.Input([latent_dim]), *body, keras.layers.Reshape(image_shape)], name="generator"
    )


def make_trainer(strategy, images=IMAGES[:500], **settings):
    dense = {"generator": dense_generator, "discriminator": dense_discriminator}
    return GanTrainer(strategy=strategy, **(ARTICLE | {"images": images} | dense | settings))


def make_doctor(trainer, images=IMAGES[:500], held_out=IMAGES[1500:], labels=None, **settings):
    def load(split):
        if split == "test" and held_out is None:
            raise TrainerError("no such split")
        part = {"train": images, "test": held_out}[split]
        return Examples(part, LABELS[: len(part)])

    dataset = Dataset(DatasetSpec("digits8", (8, 8, 1), 10), load)
    settings = {"patience": 2} | settings
    return Doctor(trainer=trainer, dataset=dataset, images=images, labels=labels, **settings)


def care_for(trainer, doctor, every, times):
    """Trains and examines in turn; what came of each examination, and the chart."""
    chart, examinations = DoctorState(), []
    for i in range(times):
        trainer.train(every)
        examinations.append(doctor.examine(chart, (i + 1) * every))
    return examinations, chart


def alerts(examinations):
    return [(a.step, a.rule.name) for e in examinations for a in e.alerts]


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
            {"generator": dcgan.generator, "generator_optimizer": STILL, **STRONG},
            None,
            10,
            [(40, "discriminator_wins")],
        ),
        (
            {"loss": losses.wasserstein(), "discriminator_optimizer": adam(0.3)},
            None,
            20,
            [(40, "gradient_explodes")],
        ),
        (
            # A critic that hardly moves, and a generator that runs after its highest point.
            {
                "loss": losses.wasserstein(),
                "generator_optimizer": adam(3e-3),
                "discriminator_optimizer": adam(1e-5),
            },
            None,
            25,
            [(175, "collapse")],
        ),
        ({**TUTORIALS, "generator_optimizer": STILL}, blackened, 5, [(10, "saturated")]),
        (
            {**TUTORIALS, "generator_optimizer": STILL},
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
    examinations, chart = care_for(trainer, make_doctor(trainer), every, 8)
    assert alerts(examinations) == expected
    assert [(e["step"], e["alert"]) for e in chart.journal] == expected
    assert not examinations[-1].healthy  # it is the same episode to the end
    (text, *_) = [str(alert) for e in examinations for alert in e.alerts]
    step, name = expected[0]
    assert text.startswith(f"{name}: at step {step} ") and "; try " in text


def test_a_discriminator_that_knows_its_sixteen_images_by_heart(make_strategy):
    settings = {"generator": noise_generator, "generator_optimizer": STILL, **STRONG}
    trainer = make_trainer(make_strategy(1), NOISE[:16], **settings)
    doctor = make_doctor(trainer, NOISE[:16], NOISE[16:])
    examinations, chart = care_for(trainer, doctor, 25, 2)
    assert alerts(examinations) == [(50, "memorising")]
    assert chart.journal[0]["try"][0] == "hacks/adaptive_augment.gin"
    # It is overfitting, not that the discriminator is good: all of NOISE is no trouble.
    trainer = make_trainer(make_strategy(1), NOISE, **settings)
    examinations, _ = care_for(trainer, make_doctor(trainer, NOISE, NOISE), 25, 2)
    assert not alerts(examinations)


def test_without_a_test_split_nothing_is_said_of_overfitting(make_strategy):
    trainer = make_trainer(make_strategy(1))
    (examination, _), _ = care_for(trainer, make_doctor(trainer, held_out=None), 2, 2)
    assert "overfitting" not in examination.signs and "diversity" in examination.signs


def test_a_few_steps_of_the_tutorials_gan_are_healthy(make_strategy):
    trainer = make_trainer(make_strategy(1), **TUTORIALS, generator_optimizer=adam(2e-3))
    examinations, chart = care_for(trainer, make_doctor(trainer), 25, 4)
    assert not alerts(examinations)
    assert examinations[-1].healthy and chart.healthy == 100
    assert chart.summary() == "no alerts in 4 examinations"


def fits_and_starts(*, pattern):
    """A rule that complains where `pattern` has a 1."""

    def check(signs, memory):
        seen = int(memory.get("seen", 0))
        memory["seen"] = seen + 1
        return Violation("so it says", 1.0, 0.0) if pattern[seen] == "1" else None

    return Rule("fits_and_starts", check, ())


def test_an_alert_takes_patience_and_comes_once_an_episode(make_strategy):
    trainer = make_trainer(make_strategy(1))
    rules = [functools.partial(fits_and_starts, pattern="1101110111110")]
    doctor = make_doctor(trainer, rules=rules, patience=3)
    examinations, chart = care_for(trainer, doctor, 1, 13)
    assert [step for step, _ in alerts(examinations)] == [6, 10]
    assert [i + 1 for i, e in enumerate(examinations) if e.healthy] == [3, 7, 13]
    assert chart.healthy == 13


def test_what_is_known_outlives_a_checkpoint(make_strategy, tmp_path):
    """Also where the rules are others by then."""
    trainer = make_trainer(make_strategy(1))
    _, chart = care_for(trainer, make_doctor(trainer), 1, 3)
    chart.class_counts = ([1, 2], [3, 4])
    path = tf.train.Checkpoint(doctor=chart).save(str(tmp_path / "c"))
    restored = DoctorState()
    tf.train.Checkpoint(doctor=restored).restore(path).assert_existing_objects_matched()
    assert restored.serialize() == chart.serialize()
    assert restored.rules["collapse"]["memory"]["diversity"] > 0
    rules = [functools.partial(fits_and_starts, pattern="1")]
    assert alerts([make_doctor(trainer, rules=rules, patience=1).examine(restored, 4)])


def test_replicas_come_to_one_verdict(make_strategy):
    settings = {"generator": dcgan.generator, "generator_optimizer": STILL, **STRONG}
    one, four = (make_trainer(make_strategy(n), **settings) for n in (1, 4))
    (expected, _), (found, _) = (care_for(t, make_doctor(t), 10, 4) for t in (one, four))
    assert alerts(found) == alerts(expected) == [(40, "discriminator_wins")]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.signs == pytest.approx(theirs.signs, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "discriminator": functools.partial(dcgan.discriminator, spectral=True, group_size=4),
            "augmentations": [augment.DiffAugment, augment.AdaptiveAugment],
        },
        {
            "generator": conditional.generator,
            "discriminator": conditional.projection_discriminator,
            "labels": LABELS[:500],
            "num_classes": 10,
        },
    ],
    ids=["spectral", "conditional"],
)
def test_looking_changes_nothing_and_traces_once(make_strategy, settings):
    watched, alone = (make_trainer(make_strategy(1), **settings) for _ in range(2))
    doctor = make_doctor(watched, labels=settings.get("labels"))
    care_for(watched, doctor, 3, 3)
    alone.train(9)
    assert_same(state(watched), state(alone))
    for program in (watched._run_discriminate, watched._run_sample):
        assert program.experimental_get_tracing_count() == 1


def test_judging_is_in_inference_mode(make_strategy):
    trainer = make_trainer(
        make_strategy(1), discriminator=dcgan.discriminator, augmentations=[augment.DiffAugment]
    )
    images = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype(np.float32)
    expected = trainer.discriminator(images, training=False).numpy()[:, 0]
    np.testing.assert_allclose(trainer.discriminate(images), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, r"Doctor\.every=0 must be at least 1"),
        ({"patience": 0}, r"Doctor\.patience=0 must be at least 1"),
        ({"num_images": 1}, r"Doctor\.num_images=1 must be at least 2"),
        ({"rules": [rules.collapse] * 2}, r"Doctor\.rules has two of collapse"),
    ],
)
def test_settings_that_break_a_rule(make_strategy, settings, message):
    trainer = make_trainer(make_strategy(1))
    with pytest.raises(TrainerError, match=message):
        make_doctor(trainer, **settings)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("absl").setLevel(logging.WARNING)
