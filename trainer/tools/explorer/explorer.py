"""What the page asks of a run's generator, in images."""

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
"""Samples of a seed, and frames of a way between two."""
REACH = 3.0
"""How far a coordinate goes from 0: one in 370 of a standard normal number is beyond."""

_MOST_DIRECTIONS = 10
_EXAMPLES = 2000  # with 4,000 the ten directions of MNIST span the same to a cosine of 0.96
_SEEDS = 64  # whose latents are kept


@dataclass(frozen=True)
class Place:
    """Where a picture is: a sample of a seed, and where that was moved."""

    seed: int
    """In [0, 2**32)."""
    index: int = 0
    """In [0, COUNT)."""
    coordinates: tuple[float, ...] | None = None
    """Along each principal direction; None for the sample's own."""
    label: int | None = None
    """Of a conditional generator; None for the sample's own, as the classes come in turn."""
    truncation: float | None = None
    """The largest absolute value in the sample's latent; see `trainer.inference.latents.truncate`."""


class Explorer:
    """Draws places of a run's latent space, from any thread.

    Every method draws one of few counts, for each is traced once: all here, at the start.

    Args:
      run: With its weights restored.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._latents = functools.lru_cache(_SEEDS)(self._draw)
        # Of a seed of their own: the directions depend on the weights alone.
        latents = run.trainer.inference.latents(_EXAMPLES, seed=0).numpy()
        images = samples.images(run, latents, run.trainer.inference.labels(_EXAMPLES))
        self.directions = principal_directions(latents, images, _MOST_DIRECTIONS)
        place = Place(run.trainer.config.seed)
        for draw in (self.samples, self.image, self.ends):
            draw(place)

    def samples(self, place: Place) -> tuple[np.ndarray, np.ndarray]:
        """The samples of the place's seed, label and truncation, wherever the place is.

        Returns:
          uint8 [COUNT, H, W, C], and their coordinates [COUNT, D].
        """
        with self._lock:
            latents = self._sampled(place)
            labels = self._labels(place.label, np.arange(COUNT))
            return self._images(latents, labels), latents @ self.directions.T

    def image(self, place: Place) -> np.ndarray:
        """uint8 [H, W, C]."""
        with self._lock:
            return self._at(place, self._latent(place)[np.newaxis])[0]

    def ends(self, place: Place) -> np.ndarray:
        """uint8 [2 * D, H, W, C]: for each direction, the place with -REACH and +REACH there."""
        with self._lock:
            latent = self._latent(place)
            ways = np.repeat(self.directions, 2, axis=0)
            goals = np.tile([-REACH, REACH], len(self.directions))
            return self._at(place, latent + (goals - ways @ latent)[:, np.newaxis] * ways)

    def way(self, first: Place, last: Place) -> np.ndarray:
        """uint8 [COUNT, H, W, C] from one place to another on a great circle, of first's label."""
        with self._lock:
            places = np.linspace(0, 1, COUNT)
            ends = [np.tile(self._latent(end), (COUNT, 1)) for end in (first, last)]
            return self._at(first, slerp(ends[0], ends[1], places))

    def _draw(self, seed: int) -> np.ndarray:
        return self.run.trainer.inference.latents(COUNT, seed).numpy()

    def _sampled(self, place: Place) -> np.ndarray:
        """[COUNT, Z]."""
        latents = self._latents(place.seed)
        return latents if place.truncation is None else truncate(latents, place.truncation)

    def _latent(self, place: Place) -> np.ndarray:
        """[Z]."""
        latent = self._sampled(place)[place.index]
        if place.coordinates is None:
            return latent
        return latent + (np.array(place.coordinates) - self.directions @ latent) @ self.directions

    def _labels(self, label: int | None, indices: np.ndarray) -> np.ndarray | None:
        known = self.run.trainer.inference.num_classes
        if known is None:
            return None
        numbers = indices % known if label is None else np.full(len(indices), label)
        return numbers.astype(np.int32)

    def _at(self, place: Place, latents: np.ndarray) -> np.ndarray:
        labels = self._labels(place.label, np.full(len(latents), place.index))
        return self._images(latents, labels, place.index)

    def _images(self, latents: np.ndarray, labels: np.ndarray | None, first: int = 0) -> np.ndarray:
        dtype = self._latents(self.run.trainer.config.seed).dtype
        return denormalise(self.run.trainer.inference.sample(latents.astype(dtype), labels, first))
