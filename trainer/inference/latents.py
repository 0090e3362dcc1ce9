"""Ways through latent space, and directions in it."""

from __future__ import annotations

import numpy as np
from scipy import special


def slerp(first: np.ndarray, last: np.ndarray, place: np.ndarray) -> np.ndarray:
    """From `first` to `last` along a great circle, where Gaussian latents lie.

    White, "Sampling Generative Networks", 2016, section 2.1 (Shoemake, 1985). A straight line
    would pass nearer to the origin than any latent that the generator was trained on.

    Args:
      first: [..., Z].
      last: [..., Z].
      place: [...], 0 for `first` and 1 for `last`.

    Returns:
      [..., Z].
    """
    place = np.asarray(place)[..., np.newaxis]
    norms = np.linalg.norm(first, axis=-1), np.linalg.norm(last, axis=-1)
    cosine = np.sum(first * last, axis=-1) / (norms[0] * norms[1])
    angle = np.arccos(np.clip(cosine, -1, 1))[..., np.newaxis]
    # Where both point the same way, or opposite ways, there is no one circle: a straight line.
    straight = np.sin(angle) < 1e-6
    sine = np.where(straight, 1.0, np.sin(angle))
    weights = (
        np.where(straight, 1 - place, np.sin((1 - place) * angle) / sine),
        np.where(straight, place, np.sin(place * angle) / sine),
    )
    return weights[0] * first + weights[1] * last


def truncate(latents: np.ndarray, threshold: float) -> np.ndarray:
    """Makes normal numbers normal ones that are at most `threshold` in absolute value.

    Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019,
    section 3.1, draws again what is beyond; here each number goes to where the same share of the
    truncated distribution lies below it, so that the samples of a seed change smoothly.

    Args:
      latents: Standard normal, of any shape.
      threshold: Above 0. Fewer than one in twenty numbers is beyond 2.
    """
    below, beyond = special.ndtr(latents.astype(np.float64)), special.ndtr(-threshold)
    return special.ndtri(beyond + below * (1 - 2 * beyond)).astype(latents.dtype)


def principal_directions(latents: np.ndarray, images: np.ndarray, most: int) -> np.ndarray:
    """The directions along which the images change most, the one of the largest change first.

    By Stein's lemma ("Estimation of the Mean of a Multivariate Normal Distribution", 1981), the
    covariance of a function with its standard normal argument is its mean Jacobian. So no gradient
    is needed: these are the right singular vectors of the covariance of images with latents.

    Args:
      latents: [N, Z], standard normal.
      images: [N, ...], what the generator makes of them.
      most: How many; fewer, if images or latents have no more dimensions.

    Returns:
      float64 [D, Z], orthonormal rows, the largest number of each positive.
    """
    pixels = images.reshape(len(images), -1).astype(np.float64)
    jacobian = (pixels - pixels.mean(axis=0)).T @ latents / len(latents)
    directions = np.linalg.svd(jacobian, full_matrices=False)[2][:most]
    largest = np.argmax(np.abs(directions), axis=1)
    return directions * np.sign(directions[np.arange(len(directions)), largest])[:, np.newaxis]
