from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.metrics.manifold import DENSITY_K, PRECISION_K, manifold, nearest


def brute_force(real, fake):
    """The four definitions, as loops."""

    def radius(points, i, k):
        return sorted(np.linalg.norm(points[i] - points[j]) for j in range(len(points)) if j != i)[
            k - 1
        ]

    def inside(points, k, others):
        radii = [radius(points, i, k) for i in range(len(points))]
        return np.array(
            [
                [np.linalg.norm(p - o) <= r for o in others]
                for p, r in zip(points, radii, strict=True)
            ]
        )

    dense = inside(real, DENSITY_K, fake)
    return (
        inside(real, PRECISION_K, fake).any(axis=0).mean(),
        inside(fake, PRECISION_K, real).any(axis=0).mean(),
        dense.sum() / (DENSITY_K * len(fake)),
        dense.any(axis=1).mean(),
    )


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 40, 0.0), (30, 50, 0.7), (60, 20, 2.0)])
def test_by_brute_force(n, m, shift):
    rng = np.random.default_rng(n)
    real, fake = rng.normal(size=(n, 3)), rng.normal(shift, 0.6, size=(m, 3))
    assert manifold(real, fake) == pytest.approx(brute_force(real, fake), abs=1e-12)


def test_copies_of_one_real_have_precision_but_no_recall():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(100, 3))
    scores = manifold(real, real[:1] + rng.normal(scale=1e-6, size=(50, 3)))
    assert scores.precision == 1 and scores.recall <= 0.01 and scores.coverage < 0.2


@pytest.mark.parametrize("count", [20, 500, 1201])
def test_nearest_by_brute_force(count):
    """Fewer queries than a block, one block, and two with a remainder."""
    rng = np.random.default_rng(0)
    queries, references = (rng.integers(0, 256, (n, 5, 4, 3), np.uint8) for n in (count, 30))
    differences = (queries[:, np.newaxis].astype(float) - references) / 255
    distances = np.sqrt(np.square(differences).mean(axis=(2, 3, 4)))
    found = nearest(queries, references)
    np.testing.assert_array_equal(found.index, distances.argmin(axis=1))
    np.testing.assert_allclose(found.distance, distances.min(axis=1), rtol=1e-5)


def test_a_copy_is_at_no_distance():
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8)
    found = nearest(images[[4]], images)
    assert found.index[0] == 4 and found.distance[0] == 0
