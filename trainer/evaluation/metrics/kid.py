"""KID: the kernel distance between features (Binkowski et al., "Demystifying MMD GANs", 2018)."""

from __future__ import annotations

import numpy as np

from trainer.evaluation.metrics.intervals import Estimate, groups, jackknife


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> Estimate:
    """The unbiased squared MMD of real features [N, D] and generated features [M, D].

    It may be negative. The kernel is the paper's, (x.y / D + 1)^3 (section 4). All pairs count: the
    paper averages over random subsets to get an interval, for which this uses the jackknife.
    """
    real_groups, fake_groups = _split(real), _split(fake)
    rr, ff = _sums(real_groups, real_groups), _sums(fake_groups, fake_groups)
    rf = _sums(real_groups, fake_groups)
    # A sample is not paired with itself.
    rr -= np.diag([_self_pairs(g) for g in real_groups])
    ff -= np.diag([_self_pairs(g) for g in fake_groups])
    n, m = (np.array([len(g) for g in gs], float) for gs in (real_groups, fake_groups))

    def without(sums: np.ndarray) -> np.ndarray:
        return sums.sum() - sums.sum(axis=0) - sums.sum(axis=1) + np.diag(sums)

    def mmd(rr, ff, rf, n, m):
        return rr / (n * (n - 1)) + ff / (m * (m - 1)) - 2 * rf / (n * m)

    value = mmd(rr.sum(), ff.sum(), rf.sum(), n.sum(), m.sum())
    without_reals = mmd(without(rr), ff.sum(), rf.sum() - rf.sum(axis=1), n.sum() - n, m.sum())
    without_fakes = mmd(rr.sum(), without(ff), rf.sum() - rf.sum(axis=0), n.sum(), m.sum() - m)
    return jackknife(float(value), without_reals, without_fakes)


def _split(features: np.ndarray) -> list[np.ndarray]:
    x = features.astype(np.float64)
    group = groups(len(x))
    return [x[group == g] for g in range(group.max() + 1)]


def _sums(a: list[np.ndarray], b: list[np.ndarray]) -> np.ndarray:
    """[G, H]: the kernel, summed over all pairs of samples of two groups."""
    if a is b:  # symmetric
        upper = np.array(
            [[_sum(x, y) if i <= j else 0.0 for j, y in enumerate(b)] for i, x in enumerate(a)]
        )
        return upper + np.triu(upper, 1).T
    return np.array([[_sum(x, y) for y in b] for x in a])


def _sum(x: np.ndarray, y: np.ndarray) -> float:
    k = (x @ y.T) / x.shape[1] + 1
    return float((k * k * k).sum())  # ten times as fast as k**3


def _self_pairs(x: np.ndarray) -> float:
    return float(((np.square(x).sum(axis=1) / x.shape[1] + 1) ** 3).sum())
