from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from support.cards import make_card

from trainer.errors import TrainerError
from trainer.evaluation import card as module
from trainer.evaluation.card import TITLES, Card, ImageFeatures, Metric
from trainer.evaluation.metrics.fid import frechet_distance
from trainer.evaluation.metrics.intervals import Estimate
from trainer.evaluation.metrics.kid import kernel_distance


def image_features(classes, probability, shift):
    """Random features around `shift`, and logits that give each sample's class `probability`."""
    rng = np.random.default_rng(shift)
    logits = np.log(np.full((len(classes), 3), (1 - probability) / 2))
    logits[np.arange(len(classes)), classes] = np.log(probability)
    return ImageFeatures(
        images=np.zeros((len(classes), 4, 4, 1), np.uint8),
        features=rng.normal(shift, 1, (len(classes), 2)),
        logits=logits,
    )


def test_metrics_are_of_samples_against_real_images():
    """Samples of two classes, confidently classified, and real images of three, which are not."""
    fake = image_features([0] * 15 + [1] * 5, 0.97, shift=2)
    real = image_features([0] * 10 + [1] * 10 + [2] * 10, 0.9, shift=0)
    found = module.compute_metrics(fake, real)
    assert found["fid"] == frechet_distance(real.features, fake.features)
    assert found["kid"] == kernel_distance(real.features, fake.features)
    assert (found["modes"], found["confident"]) == (2, 1)
    assert found["class_kl"] == pytest.approx(stats.entropy([15, 5, 0], [11, 11, 11]))
    p = np.array([[0.97, 0.015, 0.015]] * 15 + [[0.015, 0.97, 0.015]] * 5)
    kl = stats.entropy(p, p.mean(axis=0, keepdims=True), axis=1)
    assert found["classifier_score"] == pytest.approx(np.exp(kl.mean()))
    swapped = module.compute_metrics(real, fake)
    assert (found["precision"], found["recall"]) == (swapped["recall"], swapped["precision"])
    assert (swapped["modes"], swapped["confident"]) == (3, 0)


def test_memorisation_by_hand():
    """The first percentile of the test distances 0 to 100 is 1; two of four samples are below."""
    found = module.memorisation(np.array([0.5, 0.9, 1.0, 7.0]), np.arange(101.0))
    assert found == {"nearest_train": 0.95, "memorised": 0.5}


def test_metrics_stand_beside_those_of_real_images():
    values = dict.fromkeys(TITLES, 2.0) | {"fid": Estimate(3.0, 1.0, 5.0)}
    real = dict.fromkeys(TITLES, 4.0) | {"fid": Estimate(0.5, 0.25, 0.75)}
    paired = module.pair_with_real(values, real)
    assert list(paired) == list(TITLES)
    assert paired["fid"] == Metric(value=3.0, real=0.5, low=1.0, high=5.0)
    assert paired["kid"] == Metric(value=2.0, real=4.0)


def test_the_table_shows_values_intervals_and_real_images():
    lines = make_card(fid=12.345).table().splitlines()
    assert len(lines) == 2 + len(TITLES)
    assert lines[1].split() == ["FID", "12.3", "0.4", "to", "0.6", "0.1"]
    assert lines[2].split() == ["KID", "0.5", "0.1"]
    assert lines[-1].startswith("3 samples against 4 test images, raw weights, features digits-v1 ")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0012345, "0.00123"), (-0.5, "-0.5"), (999.4, "999"), (1234.6, "1235"), (2e-7, "2e-07")],
)
def test_numbers_have_three_digits_or_all_before_the_point(value, text):
    assert module.number(value) == text


def test_a_card_is_read_back(tmp_path):
    assert Card.load(str(tmp_path)) is None
    (tmp_path / "evaluation.json").write_text(make_card().to_json())
    assert Card.load(str(tmp_path)) == make_card()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metrics": {}}'])
def test_another_file_is_not_taken_for_a_card(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(TrainerError, match="is not an evaluation card .* --mode=evaluate"):
        Card.load(str(tmp_path))
