"""Images of points in a run's latent space, for the page."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass

import numpy as np

from trainer.data.batches import denormalise
from trainer.inference import samples
from trainer.inference.latents import principal_directions, slerp, truncate
from trainer.runs.run import Run

COUNT = 25
"""Number of samples of a seed, and of frames of an interpolation."""
REACH = 3.0
"""Largest absolute value of a coordinate: one in 370 standard normal numbers exceeds it."""

_MAX_DIRECTIONS = 10
_EXAMPLES = 2000  # with 4,000 the ten directions of MNIST span the same to a cosine of 0.96
_CACHED_SEEDS = 64


@dataclass(frozen=True)
class LatentPoint:
    """A point in latent space: a sample of a seed, possibly moved along the directions."""

    seed: int
    """Seed of the sample, in [0, 2**32)."""
    index: int = 0
    """Number of the sample, in [0, COUNT)."""
    coordinates: tuple[float, ...] | None = None
    """Coordinate along each principal direction, in [-REACH, REACH]; None for the sample's own."""
    label: int | None = None
    """Class, for a conditional generator; None for the sample's own, since all come in turn."""
    truncation: float | None = None
    """Truncation threshold of the sample's latent, above 0; None to truncate nothing."""


class Explorer:
    """Draws points of a run's latent space; any thread may call it.

    Every batch size is traced once, and all are traced at the start.

    Args:
      run: The run, trained or restored.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._inference = run.trainer.inference
        self._lock = threading.Lock()
        self._latents = functools.lru_cache(_CACHED_SEEDS)(self._draw)
        # With a seed of their own, so that the directions depend on the weights alone.
        latents = self._inference.latents(_EXAMPLES, seed=0).numpy()
        images = samples.images(run, latents, self._inference.labels(_EXAMPLES))
        self.directions = principal_directions(latents, images, _MAX_DIRECTIONS)
        point = LatentPoint(run.trainer.config.seed)
        for draw in (self.samples, self.image, self.extremes):
            draw(point)

    def samples(self, point: LatentPoint) -> tuple[np.ndarray, np.ndarray]:
        """The samples of the point's seed, label and truncation, whatever its index.

        Returns:
          uint8 [COUNT, H, W, C], and their coordinates [COUNT, D].
        """
        with self._lock:
            latents = self._sampled(point)
            labels = self._inference.labels(COUNT, choices=_choices(point))
            return self._images(latents, labels), latents @ self.directions.T

    def image(self, point: LatentPoint) -> np.ndarray:
        """uint8 [H, W, C], the image of the point."""
        with self._lock:
            return self._at(point, self._latent(point)[np.newaxis])[0]

    def extremes(self, point: LatentPoint) -> np.ndarray:
        """uint8 [2 * D, H, W, C]: the point moved to -REACH and to +REACH along each direction."""
        with self._lock:
            latent = self._latent(point)
            directions = np.repeat(self.directions, 2, axis=0)
            goals = np.tile([-REACH, REACH], len(self.directions))
            moved = latent + (goals - directions @ latent)[:, np.newaxis] * directions
            return self._at(point, moved)

    def interpolation(self, first: LatentPoint, last: LatentPoint) -> np.ndarray:
        """uint8 [COUNT, H, W, C]: from `first` to `last` along a great circle, in first's class."""
        with self._lock:
            start, end = (np.tile(self._latent(point), (COUNT, 1)) for point in (first, last))
            return self._at(first, slerp(start, end, np.linspace(0, 1, COUNT)))

    def _draw(self, seed: int) -> np.ndarray:
        return self._inference.latents(COUNT, seed).numpy()

    def _sampled(self, point: LatentPoint) -> np.ndarray:
        """Latents [COUNT, Z] of the point's seed and truncation."""
        latents = self._latents(point.seed)
        return latents if point.truncation is None else truncate(latents, point.truncation)

    def _latent(self, point: LatentPoint) -> np.ndarray:
        """The point's latent [Z]."""
        latent = self._sampled(point)[point.index]
        if point.coordinates is None:
            return latent
        return latent + (np.array(point.coordinates) - self.directions @ latent) @ self.directions

    def _at(self, point: LatentPoint, latents: np.ndarray) -> np.ndarray:
        """Images of latents [N, Z], with the label and the noise of the point's sample."""
        labels = self._inference.labels(1, first=point.index, choices=_choices(point))
        labels = None if labels is None else np.repeat(labels, len(latents))
        return self._images(latents, labels, point.index)

    def _images(self, latents: np.ndarray, labels: np.ndarray | None, first: int = 0) -> np.ndarray:
        dtype = self._latents(self.run.trainer.config.seed).dtype
        return denormalise(self._inference.sample(latents.astype(dtype), labels, first))


def _choices(point: LatentPoint) -> tuple[int, ...]:
    return () if point.label is None else (point.label,)
