"""Fidelity and diversity by nearest neighbours in feature space, and distance to training images.

Improved precision and recall: Kynkäänniemi et al., 2019, section 2. Density and coverage: Naeem et
al., 2020, section 3. Each approximates the manifold of a set by a ball around each feature vector,
whose radius is the distance to its k-th nearest neighbour in the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PRECISION_K = 3
"""k of precision and recall, as in Kynkäänniemi et al."""
DENSITY_K = 5
"""k of density and coverage, as in Naeem et al."""
_BLOCK = 500  # queries whose distances are computed at once


class Manifold(NamedTuple):
    """Precision, recall and coverage are in [0, 1]; density is at least 0 and may exceed 1."""

    precision: float
    """Share of generated samples inside the ball of at least one real sample."""
    recall: float
    """Share of real samples inside the ball of at least one generated sample."""
    density: float
    """Mean number of real samples' balls that a generated sample is in, divided by k."""
    coverage: float
    """Share of real samples whose ball holds at least one generated sample."""


def manifold(real: np.ndarray, fake: np.ndarray) -> Manifold:
    """The scores of generated features [M, D] against real features [N, D]; N, M > DENSITY_K."""
    from sklearn.metrics import pairwise_distances_chunked

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
    """Features [N, D] -> [N]: the distance of each to its k-th nearest neighbour."""
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features)
    return neighbours.kneighbors()[0][:, -1]  # without arguments, a point is not its own neighbour


class Nearest(NamedTuple):
    """The nearest reference image of each query."""

    distance: np.ndarray
    """float [N] in [0, 1]: root mean square difference of the pixels, as a share of their range."""
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index
    """int [N]."""


def nearest(queries: np.ndarray, references: np.ndarray) -> Nearest:
    """The nearest reference uint8 [M, H, W, C] of each query uint8 [N, H, W, C], by pixels.

    The search minimises |y|^2 / 2 - x.y in float32; scikit-learn's float64 takes 1.5 to 2 times as
    long. The distance itself is computed from the difference, without cancellation.
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
