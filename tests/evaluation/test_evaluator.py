"""The card of known images: the metrics must change as the images do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from trainer.data.digits import digits
from trainer.errors import TrainerError
from trainer.evaluation.card import TITLES, compute_metrics
from trainer.evaluation.evaluator import Evaluator, extract_from
from trainer.evaluation.features.classifier import classifier
from trainer.gan import losses, optimizers
from trainer.gan.trainer import GanConfig, GanTrainer
from trainer.models import dcgan

ONE = tf.distribute.OneDeviceStrategy("CPU:0")


def evaluate(strategy, **settings):
    """The Evaluation of an untrained generator of digits."""
    dataset = digits()
    images, labels = dataset.load("train")
    config = GanConfig(
        generator=dcgan.generator,
        discriminator=dcgan.discriminator,
        loss=losses.binary_cross_entropy,
        generator_optimizer=optimizers.adam,
        discriminator_optimizer=optimizers.adam,
        latent_dim=10,
        batch_size=32,
        seed=3,
    )
    trainer = GanTrainer(config, strategy=strategy, images=images, labels=labels, num_classes=10)
    settings = {"dataset": dataset, "data_dir": None, "seed": 3, **settings}
    evaluator = Evaluator(strategy=strategy, **settings)
    generate = trainer.inference.generate
    return evaluator(generate, step=7, images_seen=224, weights=trainer.sampled_weights)


@pytest.mark.slow
def test_the_card_is_the_same_on_one_replica_and_on_four(make_strategy):
    """510 samples: one replica takes them in six rounds, four in two that are not full."""
    one, four = (evaluate(make_strategy(n), num_samples=510) for n in (1, 4))
    for name, metric in one.card.metrics.items():
        expected = {k: v for k, v in dataclasses.asdict(metric).items() if v is not None}
        found = dataclasses.asdict(four.card.metrics[name])
        assert {k: found[k] for k in expected} == pytest.approx(expected, rel=1e-6, abs=1e-9), name
    assert dataclasses.replace(one.card, metrics={}) == dataclasses.replace(four.card, metrics={})
    np.testing.assert_array_equal(one.closest, four.closest)


def test_what_the_card_says():
    card = evaluate(ONE, num_samples=300).card
    assert (card.dataset, card.step, card.images_seen, card.seed) == ("digits", 7, 224, 3)
    assert (card.num_samples, card.num_test, card.weights) == (300, 297, "raw")
    assert sum(card.class_counts) == sum(card.confidence_counts) == 300
    assert sum(card.class_counts_real) == sum(card.confidence_counts_real) == 297
    assert list(card.metrics) == list(TITLES)
    fid = card.metrics["fid"]
    assert fid.low < fid.value < fid.high
    # An untrained generator is far from digits, and training images are not.
    assert fid.value > 50 * fid.real
    assert card.metrics["memorised"].real == pytest.approx(3 / 297)


def test_no_more_samples_than_training_images():
    assert evaluate(ONE).card.num_samples == 1500


def test_too_few_samples_are_refused():
    with pytest.raises(TrainerError, match="Evaluator.num_samples=5 must exceed 5"):
        evaluate(ONE, num_samples=5)


@pytest.fixture(scope="module")
def features():
    """uint8 images -> their ImageFeatures."""
    extractor = classifier(dataset=digits(), data_dir=None, strategy=ONE)
    return lambda images: extract_from(ONE, extractor, images)


@pytest.fixture(scope="module")
def halves():
    """The even and the odd training images, each with labels."""
    train = digits().load("train")
    return (train.images[::2], train.labels[::2]), (train.images[1::2], train.labels[1::2])


def blurred(images, labels, amount):
    sigma = (0, amount, amount, 0)
    return np.rint(scipy.ndimage.gaussian_filter(images.astype(float), sigma)).astype(np.uint8)


def noisy(images, labels, amount):
    noise = np.random.default_rng(0).normal(scale=15 * amount, size=images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def without_classes(images, labels, amount):
    return images[labels >= 2 * amount]


@pytest.mark.parametrize("damage", [blurred, noisy, without_classes])
def test_more_damage_reads_worse(features, halves, damage):
    (real, _), (images, labels) = halves
    reference = features(real)
    cards = [
        compute_metrics(features(damage(images, labels, amount)), reference)
        for amount in (0, 1, 2, 3)
    ]
    for name in ("fid", "kid"):
        values = [card[name].value for card in cards]
        assert values == sorted(values) and values[0] < values[1] / 3, (name, values)
    coverage = [card["coverage"] for card in cards]
    assert coverage == sorted(coverage, reverse=True), coverage
    if damage is without_classes:
        assert [card["modes"] for card in cards] == [10, 8, 6, 4]
        assert cards[3]["recall"] < cards[0]["recall"] < 1
        divergence = [card["class_kl"] for card in cards]
        assert divergence == sorted(divergence) and divergence[0] < divergence[1] / 3
        assert cards[3]["precision"] > 0.8 * cards[0]["precision"]
    else:
        assert cards[3]["precision"] < 0.5 * cards[0]["precision"]
        assert cards[3]["confident"] < 0.8 * cards[0]["confident"]


def test_a_generator_that_copies_is_found_out():
    """Its samples are training images: all scores are good, except for memorisation."""
    train = digits().load("train").images

    def copies(keys):
        numbers = tf.cast(keys[:, 0] % len(train), tf.int32)
        return tf.gather(tf.constant(train / 127.5 - 1, tf.float32), numbers)

    evaluator = Evaluator(strategy=ONE, dataset=digits(), data_dir=None, seed=0, num_samples=500)
    card, closest = evaluator(copies, step=0, images_seen=0, weights="raw")
    assert card.metrics["fid"].value < 2 * card.metrics["fid"].real
    assert card.metrics["nearest_train"].value < 1e-3 < card.metrics["nearest_train"].real
    assert card.metrics["memorised"].value == 1
    samples, neighbours = np.split(closest, 2)
    np.testing.assert_array_equal(samples, neighbours)
