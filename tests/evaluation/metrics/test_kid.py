from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from trainer.evaluation.metrics.intervals import groups, jackknife
from trainer.evaluation.metrics.kid import kernel_distance


def by_definition(x, y):
    """The unbiased squared MMD, with scikit-learn's kernel and no sums kept."""
    rr, ff, rf = polynomial_kernel(x), polynomial_kernel(y), polynomial_kernel(x, y)
    n, m = len(x), len(y)
    off_diagonal = (rr.sum() - np.trace(rr)) / (n * (n - 1))
    off_diagonal += (ff.sum() - np.trace(ff)) / (m * (m - 1))
    return off_diagonal - 2 * rf.mean()


@pytest.mark.parametrize(("n", "m", "dimensions"), [(30, 30, 4), (45, 61, 16), (7, 200, 3)])
def test_value_and_interval_by_definition(n, m, dimensions):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, dimensions)), rng.normal(0.3, 1.5, size=(m, dimensions))
    a, b = groups(n), groups(m)
    without_x = [by_definition(x[a != g], y) for g in range(a.max() + 1)]
    without_y = [by_definition(x, y[b != g]) for g in range(b.max() + 1)]
    expected = jackknife(by_definition(x, y), np.array(without_x), np.array(without_y))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_it_is_unbiased():
    """Of samples from one distribution the mean is zero, within three standard errors."""
    rng = np.random.default_rng(0)
    values = [kernel_distance(*rng.normal(size=(2, 40, 8))).value for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
