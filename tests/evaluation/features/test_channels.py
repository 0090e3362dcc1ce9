from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax
from support.mnist import write_mnist
from support.process import run

from trainer.data.batches import normalise
from trainer.data.dataset import Dataset, DatasetSpec
from trainer.data.digits import digits
from trainer.data.stacked import stacked_mnist
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import extract_from
from trainer.evaluation.features.channels import per_channel
from trainer.evaluation.features.classifier import NUM_FEATURES, SHIPPED, classifier

ONE = tf.distribute.OneDeviceStrategy("CPU:0")


@pytest.fixture(scope="module")
def triples():
    """uint8 [410, 28, 28, 3]: the embedded digits in threes, each in two triples."""
    images = digits().load("train").images[:410]
    return np.concatenate([images, np.roll(images, 7, axis=0), images[::-1]], axis=-1)


def extractor(strategy=ONE):
    return per_channel(dataset=stacked_mnist(), data_dir=None, strategy=strategy)


def test_it_says_whose_weights_it_has():
    found = extractor()
    assert (found.name, found.sha256) == ("mnist-v1 per channel", SHIPPED["mnist"])
    assert found.accuracy is None


def test_a_channel_is_seen_as_the_classifier_sees_it(triples):
    features, logits = (y.numpy() for y in extractor().model(normalise(triples), training=False))
    assert features.shape == (410, 3 * NUM_FEATURES) and logits.shape == (410, 1000)
    mnist = Dataset(DatasetSpec("mnist", (28, 28, 1), 10), read=None)
    digit = classifier(dataset=mnist, data_dir=None, strategy=ONE).model
    log_p = []
    for channel in range(3):
        expected, single = digit(normalise(triples[..., channel : channel + 1]), training=False)
        ours = features[:, channel * NUM_FEATURES : (channel + 1) * NUM_FEATURES]
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
        log_p.append(log_softmax(single.numpy().astype(float), axis=1))
    for r, g, b in ((0, 0, 0), (1, 2, 3), (9, 0, 4), (7, 9, 9)):
        product = log_p[0][:, r] + log_p[1][:, g] + log_p[2][:, b]
        np.testing.assert_allclose(logits[:, 100 * r + 10 * g + b], product, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-4)
    red, green, blue = (p.argmax(axis=1) for p in log_p)
    np.testing.assert_array_equal(logits.argmax(axis=1), 100 * red + 10 * green + blue)


def test_four_replicas_see_what_one_sees(make_strategy, triples):
    seen = [
        extract_from(strategy, extractor(strategy), triples.copy())
        for strategy in (make_strategy(1), make_strategy(4))
    ]
    np.testing.assert_array_equal(seen[0].images, seen[1].images)
    np.testing.assert_allclose(seen[0].features, seen[1].features, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(seen[0].logits, seen[1].logits, rtol=1e-6, atol=1e-5)


def test_another_dataset_is_refused():
    with pytest.raises(TrainerError, match=r"digits has \(28, 28, 1\) and 10; leave Evaluator\."):
        per_channel(dataset=digits(), data_dir=None, strategy=ONE)


@pytest.mark.slow
def test_a_run_on_stacked_mnist_counts_its_classes(tmp_path):
    """The shipped config, on noise in the place of MNIST and with fewer images."""
    write_mnist(tmp_path / "data", 40, 30)
    small = ["train.num_steps=2", "train.evaluate_every=2", "train.batch_size=16"]
    small += [
        "stacked_mnist.num_train=120",
        "stacked_mnist.num_test=60",
        "Evaluator.num_samples=90",
    ]
    run(
        "--gin_file=stacked_mnist.gin",
        f"--data_dir={tmp_path / 'data'}",
        f"--model_dir={tmp_path / 'run'}",
        *(f"--gin_param={setting}" for setting in small),
    )
    card = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (card["dataset"], card["extractor"]) == ("stacked_mnist", "mnist-v1 per channel")
    assert (card["num_samples"], card["num_test"], len(card["class_counts"])) == (90, 60, 1000)
    assert card["metrics"]["modes"]["value"] == np.count_nonzero(card["class_counts"]) > 0
    assert (tmp_path / "run" / "samples" / "step_0000002.png").exists()
    assert "most frequent first" in (tmp_path / "run" / "evaluation.html").read_text()
