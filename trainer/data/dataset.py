"""What a dataset is: a DatasetSpec, and a function that loads a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trainer.errors import TrainerError


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


def checked(spec: DatasetSpec, examples: Examples) -> Examples:
    """The examples, which are those of `spec`.

    Raises:
      TrainerError: naming the array that is not, and what it must be.
    """
    images, labels = examples
    count = len(images)
    for name, array, dtype, shape in (
        ("images", images, np.uint8, (count, *spec.image_shape)),
        ("labels", labels, np.int32, (count,)),
    ):
        if (array.dtype, array.shape) != (dtype, shape):
            raise TrainerError(
                f"dataset {spec.name} loads {name} {array.dtype} {array.shape}, where its spec "
                f"needs {np.dtype(dtype)} {shape}"
            )
    if count and not 0 <= labels.min() <= labels.max() < spec.num_classes:
        raise TrainerError(
            f"dataset {spec.name} has labels from {labels.min()} to {labels.max()}, which are not "
            f"in [0, {spec.num_classes}); set num_classes of its spec"
        )
    return examples
