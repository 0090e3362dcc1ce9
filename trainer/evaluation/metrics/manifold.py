"""Fidelity and diversity by nearest neighbours in feature space, and distance to training images.

Improved precision and recall: Kynkäänniemi et al., 2019. Density and coverage: Naeem et al., 2020.
Each sees a set of features as the union of balls around them, whose radius is the distance to the
k-th nearest neighbour in the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

PRECISION_K = 3
"""As in Kynkäänniemi et al."""
DENSITY_K = 5
"""As in Naeem et al."""
_BLOCK = 500  # queries at a time


class Manifold(NamedTuple):
    """The four scores."""

    precision: float
    """Share of fakes within some real's ball."""
    recall: float
    """Share of reals within some fake's ball."""
    density: float
    """How many reals' balls a fake lies in, over k; may exceed 1."""
    coverage: float
    """Share of reals whose ball holds a fake."""


def manifold(real: np.ndarray, fake: np.ndarray) -> Manifold:
    """Scores of fakes [M, D] against reals [N, D]; each set needs more than DENSITY_K."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    real_radius = _radii(real, PRECISION_K)
    fake_radius = _radii(fake, PRECISION_K)
    dense_radius = _radii(real, DENSITY_K)
    in_real = np.zeros(len(fake), bool)
    in_fake, covered, inside = [], [], 0
    row = 0
    for block in pairwise_distances_chunked(real, fake):
        rows = slice(row, row + len(block))
        row += len(block)
        in_real |= (block <= real_radius[rows, np.newaxis]).any(axis=0)
        in_fake.append((block <= fake_radius).any(axis=1))
        dense = block <= dense_radius[rows, np.newaxis]
        covered.append(dense.any(axis=1))
        inside += int(dense.sum())
    return Manifold(
        precision=float(in_real.mean()),
        recall=float(np.concatenate(in_fake).mean()),
        density=inside / (DENSITY_K * len(fake)),
        coverage=float(np.concatenate(covered).mean()),
    )


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """[N]: the distance to the k-th nearest of the others."""
    neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features)
    return neighbours.kneighbors()[0][:, -1]  # without arguments, none is its own neighbour


class Nearest(NamedTuple):
    """The nearest reference image of each query."""

    distance: np.ndarray
    """float [N], root mean square over the pixels, as a share of their range."""
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index
    """int [N]."""


def nearest(queries: np.ndarray, references: np.ndarray) -> Nearest:
    """uint8 [N, H, W, C], uint8 [M, H, W, C] -> for each query, its nearest reference in pixels.

    Which one is decided in float32, by |y|^2 / 2 - x.y: scikit-learn computes in float64, which
    takes 1.5 to 2 times as long. The distance to it has no such cancellation.
    """
    x, y = (a.reshape(len(a), -1).astype(np.float32) / 255 for a in (queries, references))
    half = np.einsum("ij,ij->i", y, y) / 2
    index = np.empty(len(x), int)
    distance = np.empty(len(x), np.float32)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        index[rows] = (half - x[rows] @ y.T).argmin(axis=1)
        distance[rows] = np.sqrt(np.square(x[rows] - y[index[rows]]).mean(axis=1))
    return Nearest(distance, index)
