from __future__ import annotations

import numpy as np
from scipy import stats

from trainer.inference.latents import principal_directions, slerp, truncate


def test_slerp_goes_along_the_circle():
    first, last = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    fractions = np.array([0.0, 1 / 3, 0.5, 1.0])
    path = slerp(first, last, fractions)
    angles = fractions * np.pi / 2
    np.testing.assert_allclose(path, 2 * np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-12)


def test_slerp_between_parallel_latents_is_a_straight_line():
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


def test_principal_directions_are_those_of_the_mean_jacobian():
    """For a function with a known linear part, and an even part whose mean Jacobian is 0."""
    random = np.random.default_rng(0)
    latents = random.normal(size=(20_000, 6)).astype(np.float32)
    known = np.linalg.qr(random.normal(size=(6, 6)))[0][:3]
    linear = (latents @ known.T) * [3.0, 2.0, 1.0]
    even = 2 * latents[:, :4] ** 2
    images = np.concatenate([linear, even], axis=1).reshape(-1, 1, 7, 1)
    found = principal_directions(latents, images, 3)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.abs(found @ known.T), np.eye(3), atol=0.1)
    assert (np.abs(found).max(axis=1) == found.max(axis=1)).all()


def test_there_are_no_more_principal_directions_than_dimensions():
    latents = np.random.default_rng(0).normal(size=(100, 2))
    assert principal_directions(latents, latents.reshape(100, 1, 2, 1), 10).shape == (2, 2)
