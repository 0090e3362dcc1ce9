"""Latent space: interpolation, truncation and principal directions."""

from __future__ import annotations

import numpy as np
from scipy import special


def slerp(first: np.ndarray, last: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Spherical interpolation: from `first` to `last` along a great circle.

    White, "Sampling Generative Networks", 2016, section 2.1 (after Shoemake, "Animating rotation
    with quaternion curves", 1985). A straight line would pass nearer to the origin than the latents
    that the generator was trained on.

    Args:
      first: [..., Z].
      last: [..., Z].
      fraction: [...], 0 for `first` and 1 for `last`.

    Returns:
      [..., Z].
    """
    fraction = np.asarray(fraction)[..., np.newaxis]
    norms = np.linalg.norm(first, axis=-1), np.linalg.norm(last, axis=-1)
    cosine = np.sum(first * last, axis=-1) / (norms[0] * norms[1])
    angle = np.arccos(np.clip(cosine, -1, 1))[..., np.newaxis]
    # If both point the same way, or opposite ways, the circle is not unique: a straight line.
    straight = np.sin(angle) < 1e-6
    sine = np.where(straight, 1.0, np.sin(angle))
    weights = (
        np.where(straight, 1 - fraction, np.sin((1 - fraction) * angle) / sine),
        np.where(straight, fraction, np.sin(fraction * angle) / sine),
    )
    return weights[0] * first + weights[1] * last


def truncate(latents: np.ndarray, threshold: float) -> np.ndarray:
    """Maps standard normal numbers to truncated normal ones, in [-threshold, threshold].

    Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019,
    section 3.1, draws numbers outside the range again. Here each number moves to the same quantile
    of the truncated distribution, so that a seed's samples change smoothly with the threshold.

    Args:
      latents: Standard normal numbers, of any shape.
      threshold: Truncation threshold, above 0. Fewer than one in twenty numbers is outside 2.

    Returns:
      Truncated normal numbers of the same shape and dtype.
    """
    below, beyond = special.ndtr(latents.astype(np.float64)), special.ndtr(-threshold)
    return special.ndtri(beyond + below * (1 - 2 * beyond)).astype(latents.dtype)


def principal_directions(latents: np.ndarray, images: np.ndarray, most: int) -> np.ndarray:
    """The directions along which the images change most, the largest change first.

    By Stein's lemma ("Estimation of the Mean of a Multivariate Normal Distribution", 1981, lemma
    2), the covariance of a function with its standard normal argument is its mean Jacobian. So no
    gradient is needed: the directions are the right singular vectors of the covariance of images
    with latents.

    Args:
      latents: [N, Z], standard normal.
      images: [N, ...], the generator's images of them.
      most: The most directions to return; there are no more than Z, nor than pixels.

    Returns:
      float64 [D, Z], orthonormal rows; the component of largest absolute value is positive.
    """
    pixels = images.reshape(len(images), -1).astype(np.float64)
    jacobian = (pixels - pixels.mean(axis=0)).T @ latents / len(latents)
    directions = np.linalg.svd(jacobian, full_matrices=False)[2][:most]
    largest = np.argmax(np.abs(directions), axis=1)
    return directions * np.sign(directions[np.arange(len(directions)), largest])[:, np.newaxis]
