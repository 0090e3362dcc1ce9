"""FID: the Fréchet distance between Gaussians fitted to features (Heusel et al., 2017, eq. 6)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from trainer.evaluation.metrics.intervals import Estimate, groups, jackknife


class Moments(NamedTuple):
    """Sums over samples in float64, which give mean and covariance and can be subtracted."""

    count: int  # type: ignore[assignment]  # hides tuple.count
    total: np.ndarray
    """[D], the sum of the features."""
    products: np.ndarray
    """[D, D], the sum of their outer products."""

    def without(self, part: Moments) -> Moments:
        """The moments of the samples that are not in `part`."""
        return Moments(
            self.count - part.count, self.total - part.total, self.products - part.products
        )

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.count

    @property
    def covariance(self) -> np.ndarray:
        """[D, D], unbiased; needs at least two samples."""
        centred = self.products - np.outer(self.total, self.mean)
        return centred / (self.count - 1)


def moments(features: np.ndarray) -> Moments:
    """Features [N, D] -> their moments."""
    x = features.astype(np.float64)
    return Moments(len(x), x.sum(axis=0), x.T @ x)


def distance(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), C the covariance.

    Dowson and Landau, "The Fréchet Distance between Multivariate Normal Distributions", 1982.
    """
    return _distance(a, b, _root(a.covariance))


def _distance(a: Moments, b: Moments, root_a: np.ndarray) -> float:
    # C_a C_b has the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2), which are real.
    eigenvalues = np.linalg.eigvalsh(root_a @ b.covariance @ root_a)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    means = np.square(a.mean - b.mean).sum()
    return float(means + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric matrix, whose eigenvalues are negative only by rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> Estimate:
    """FID between real features [N, D] and generated features [M, D], at least 0.

    Its unit is the square of the features'. Like every FID it is biased upwards, the more the
    smaller N and M are: compare only FIDs with the same N and the same M.
    """
    a, b = moments(real), moments(fake)
    # BLAS's threads spin while they wait for each other, in every step of a decomposition. Beside
    # other work, two threads took 1.5 s for eigenvalues that one computed in 0.01 s (384 features).
    with threadpool_limits(1, user_api="blas"):
        root = _root(a.covariance)
        without_fakes = [_distance(a, b.without(part), root) for part in _parts(fake)]
        without_reals = [distance(b, a.without(part)) for part in _parts(real)]
        value = _distance(a, b, root)
    return jackknife(value, np.array(without_fakes), np.array(without_reals))


def _parts(features: np.ndarray) -> list[Moments]:
    group = groups(len(features))
    return [moments(features[group == g]) for g in range(group.max() + 1)]
