"""What a dataset is: a DatasetSpec, and a function that loads a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
    """One split in memory."""

    images: np.ndarray
    """uint8 [N, H, W, C] in [0, 255]."""
    labels: np.ndarray
    """int32 [N] in [0, num_classes)."""


@dataclass(frozen=True)
class DatasetSpec:
    """What a model must know of a dataset before any of it is read."""

    name: str
    image_shape: tuple[int, int, int]
    """(H, W, C)."""
    num_classes: int
    num_train: int | None = None
    """Images in the split "train", where that is known before it is read."""


@dataclass(frozen=True)
class Dataset:
    """A dataset: `load("train")` or `load("test")` reads a split, always in the same order."""

    spec: DatasetSpec
    load: Callable[[str], Examples]
