from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from trainer.evaluation.metrics.fid import Moments, distance, frechet_distance, moments


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def gaussian(mean, covariance, count=1000):
    """Moments that have exactly this mean and covariance."""
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    products = (count - 1) * covariance + count * np.outer(mean, mean)
    return Moments(count, count * mean, products)


def test_moments_are_numpys(rng):
    x = rng.normal(size=(50, 4)).astype(np.float32)
    assert moments(x).covariance == pytest.approx(np.cov(x.astype(float), rowvar=False), rel=1e-12)
    part = moments(x[:20])
    assert moments(x).without(part).mean == pytest.approx(x[20:].mean(axis=0), abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (([0], [[1]]), ([3], [[1]]), 9),  # a shift: its square
        (([0], [[4]]), ([0], [[9]]), 1),  # a scale: (sigma_a - sigma_b)^2
        (([1, 2], np.diag([1, 4])), ([2, 0], np.diag([9, 16])), 1 + 4 + 4 + 4),
        (([0, 0], [[2, 1], [1, 2]]), ([0, 0], np.eye(2)), 6 - 2 * (np.sqrt(3) + 1)),
    ],
)
def test_gaussians_in_closed_form(a, b, expected):
    a, b = gaussian(*a), gaussian(*b)
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert distance(b, a) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dimensions", [2, 17, 64])
def test_the_formula_with_scipys_matrix_root(rng, dimensions):
    x = rng.normal(size=(300, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    y = rng.exponential(size=(200, dimensions))
    covariances = [np.cov(z, rowvar=False) for z in (x, y)]
    cross = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    expected = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    expected += np.trace(covariances[0] + covariances[1] - 2 * cross.real)
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-8)


def test_singular_covariances(rng):
    """Fewer samples than features."""
    x, y = rng.normal(size=(2, 8, 32))
    assert frechet_distance(x, x).value == pytest.approx(0, abs=1e-5)
    assert np.isfinite(frechet_distance(x, y)).all()


def test_the_interval_is_of_the_spread_over_fresh_samples(rng):
    """Its half-width is about t = 2.09 standard deviations of FIDs of fresh samples."""
    estimates = [
        frechet_distance(rng.normal(size=(500, 4)), rng.normal(0.5, 1, size=(500, 4)))
        for _ in range(100)
    ]
    deviation = np.std([e.value for e in estimates])
    half_width = np.mean([e.high - e.value for e in estimates])
    assert 1.7 < half_width / deviation < 2.6
