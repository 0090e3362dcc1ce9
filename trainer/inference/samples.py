"""Samples of a run's generator as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import logging

from trainer.data.batches import denormalise
from trainer.errors import TrainerError
from trainer.inference.latents import truncate
from trainer.runs.run import Run

_CHUNK = 250  # samples in one call on the devices


def sample(
    run: Run,
    num: int | None = None,
    *,
    seed: int | None = None,
    labels: Sequence[int] = (),
    truncation: float | None = None,
) -> np.ndarray:
    """Samples of the run's current weights. Every process of a multi-worker run must call it.

    Args:
      run: The run, trained or restored.
      num: Number of samples, at least 1; None for the number in the run's sample grids.
      seed: Seed of the latents, in [0, 2**32); None for the latents of the run's sample grids.
      labels: Classes to generate in turn, with a conditional generator; empty for all.
      truncation: Truncation threshold for latents, above 0; see
        `trainer.inference.latents.truncate`.

    Returns:
      uint8 [num, H, W, C].

    Raises:
      TrainerError: if an argument is out of range, or the generator takes no labels.
    """
    num = run.schedule.num_samples if num is None else num
    check(run, num, seed, labels, truncation)
    latents = draw_latents(run, num, seed, truncation)
    return images(run, latents, run.trainer.inference.labels(num, choices=labels))


def check(
    run: Run, num: int, seed: int | None, labels: Sequence[int], truncation: float | None
) -> None:
    """Refuses arguments of `sample` that are out of range.

    Raises:
      TrainerError: naming the argument and its range.
    """
    if num < 1:
        raise TrainerError(f"num={num} must be at least 1")
    if seed is not None and not 0 <= seed < 2**32:
        raise TrainerError(f"seed={seed} is not in [0, 2**32); choose one that is")
    if truncation is not None and not truncation > 0:
        raise TrainerError(f"truncation={truncation} must be above 0; common are 0.5 to 2")
    num_classes = run.trainer.inference.num_classes
    for label in labels:
        if num_classes is None:
            raise TrainerError(
                f"label={label} needs a conditional generator; train one, such as with "
                "--gin_file=mnist.gin --gin_file=hacks/projection.gin"
            )
        if not 0 <= label < num_classes:
            raise TrainerError(f"label={label} is not in [0, {num_classes}), the run's classes")


def draw_latents(run: Run, count: int, seed: int | None, truncation: float | None) -> np.ndarray:
    """[count, Z], truncated if `truncation` is given."""
    latents = run.trainer.inference.latents(count, seed).numpy()
    return latents if truncation is None else truncate(latents, truncation)


def images(run: Run, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Latents [N, Z] and labels int32 [N], or None -> uint8 [N, H, W, C], computed in chunks."""
    size = min(_CHUNK, len(latents))
    pieces = []
    for first in range(0, len(latents), size):
        # The last chunk is padded, so that all have one shape and nothing is traced again.
        rows = np.arange(first, first + size) % len(latents)
        chunk_labels = None if labels is None else labels[rows]
        piece = run.trainer.inference.sample(latents[rows], chunk_labels, first)
        pieces.append(denormalise(piece[: len(latents) - first]))
        if first // size % 20 == 19:
            logging.info("%d of %d samples", first + size, len(latents))
    return np.concatenate(pieces)
