from __future__ import annotations

import numpy as np
from scipy import stats

from trainer.latents import slerp, truncate


def test_slerp_goes_along_the_circle():
    first, last = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    places = np.array([0.0, 1 / 3, 0.5, 1.0])
    path = slerp(first, last, places)
    angles = places * np.pi / 2
    np.testing.assert_allclose(path, 2 * np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-12)


def test_slerp_of_what_points_the_same_way_is_a_straight_line():
    first = np.array([[1.0, 1.0], [3.0, 0.0]])
    np.testing.assert_allclose(slerp(first, 3 * first, np.array([0.5, 0.25])), first * [[2], [1.5]])


def test_slerp_keeps_gaussians_as_long_as_gaussians_are():
    first, last = np.random.default_rng(0).normal(size=(2, 1000, 100))
    middle = slerp(first, last, np.full(1000, 0.5))
    straight = (first + last) / 2
    lengths = [np.linalg.norm(x, axis=-1).mean() for x in (first, middle, straight)]
    assert abs(lengths[1] / lengths[0] - 1) < 0.02
    assert lengths[2] / lengths[0] < 0.75


def test_truncated_latents_are_truncated_normal():
    latents = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    cut = truncate(latents, 0.7)
    assert cut.dtype == np.float32
    assert np.abs(cut).max() <= 0.7
    assert stats.kstest(cut, stats.truncnorm(-0.7, 0.7).cdf).pvalue > 0.01
    np.testing.assert_array_equal(np.argsort(cut[:100]), np.argsort(latents[:100]))
    np.testing.assert_allclose(truncate(latents, 30.0), latents, atol=1e-6)
