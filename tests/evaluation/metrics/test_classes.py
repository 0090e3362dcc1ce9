from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from trainer.evaluation.metrics import classes


def test_the_score_of_certain_and_balanced_classes_is_their_number():
    logits = np.tile(100 * np.eye(10), (5, 1))
    assert classes.classifier_score(logits) == pytest.approx(10)


def test_the_score_of_one_class_or_of_no_idea_is_one():
    assert classes.classifier_score(np.tile([50.0, 0, 0], (8, 1))) == pytest.approx(1)
    assert classes.classifier_score(np.zeros((8, 3))) == pytest.approx(1)


def test_the_score_by_scipys_entropy():
    logits = np.random.default_rng(0).normal(scale=3, size=(100, 7)).astype(np.float32)
    p = special.softmax(logits.astype(float), axis=1)
    expected = np.exp(stats.entropy(p, p.mean(axis=0, keepdims=True), axis=1).mean())
    assert classes.classifier_score(logits) == pytest.approx(expected, rel=1e-12)


def test_histograms_count_every_sample():
    logits = np.array([[0, 5, 0], [0, 9, 1], [9, 0, 0]])
    assert classes.histogram(logits).tolist() == [1, 2, 0]
    counts = classes.confidence_histogram(np.array([[0.0, 0.0], [50.0, 0.0]]))
    assert counts.sum() == 2 and counts[10] == 1 and counts[19] == 1


def test_modes_are_the_classes_that_have_a_sample():
    assert classes.modes(np.array([3, 0, 1, 0])) == 2
    logits = np.repeat(np.eye(1000)[[7, 7, 400, 999]], 3, axis=0)
    assert classes.modes(classes.histogram(logits)) == 3


def test_divergence_of_one_class_among_equally_many_of_each():
    """log K of K classes, whatever is added to each."""
    counts = np.zeros(1000)
    counts[111] = 26_000
    assert classes.divergence(counts, np.full(1000, 26)) == pytest.approx(np.log(1000))


def test_divergence_by_scipys_entropy():
    counts, reference = np.array([5, 0, 15]), np.array([10, 10, 0])
    expected = stats.entropy(counts, reference + 1)
    assert classes.divergence(counts, reference) == pytest.approx(expected)
    assert classes.divergence(1000 * reference, 1000 * reference) == pytest.approx(0, abs=1e-3)
