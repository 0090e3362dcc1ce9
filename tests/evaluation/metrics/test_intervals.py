from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainer.evaluation.metrics.intervals import NUM_GROUPS, groups, jackknife


def test_of_a_mean_it_is_students_interval():
    x = np.random.default_rng(0).normal(size=NUM_GROUPS)
    left_out = (x.sum() - x) / (len(x) - 1)
    low, high = stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
    assert jackknife(x.mean(), left_out) == pytest.approx((x.mean(), low, high), rel=1e-12)


def test_variances_of_independent_samples_add():
    a, b = np.random.default_rng(1).normal(size=(2, NUM_GROUPS))
    widths = [jackknife(0, *x).high for x in ((a,), (b,), (a, b))]
    assert widths[2] == pytest.approx(np.hypot(widths[0], widths[1]), rel=1e-12)


def test_it_covers_the_truth_as_often_as_it_says():
    """95 % of intervals of a ratio of means hold the true ratio; 400 trials give +-2.2 %."""
    rng = np.random.default_rng(2)
    covered = 0
    group = groups(200)
    for _ in range(400):
        x, y = rng.normal(2, 1, 200), rng.normal(4, 1, 200)
        left_out = [x[group != g].mean() / y[group != g].mean() for g in range(NUM_GROUPS)]
        _, low, high = jackknife(x.mean() / y.mean(), np.array(left_out))
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize("count", [3, 20, 47])
def test_groups_differ_by_one_at_most(count):
    sizes = np.bincount(groups(count))
    assert len(sizes) == min(NUM_GROUPS, count) and sizes.max() - sizes.min() <= 1
