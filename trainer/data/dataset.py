"""The interface of a dataset: a DatasetSpec, and a function that reads a split."""

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
    """What is known about a dataset before it is read."""

    name: str
    image_shape: tuple[int, int, int]
    """(H, W, C)."""
    num_classes: int
    num_train: int | None = None
    """Number of images in the split "train"; None if it is known only after reading."""


@dataclass(frozen=True)
class Dataset:
    """A dataset with the splits "train" and "test"."""

    spec: DatasetSpec
    read: Callable[[str], Examples]
    """Split name -> its examples, always in the same order."""

    def load(self, split: str) -> Examples:
        """The split "train" or "test".

        Raises:
          TrainerError: if the images or labels do not fit `spec`.
        """
        examples = self.read(split)
        count = len(examples.images)
        for name, array, dtype, shape in (
            ("images", examples.images, np.uint8, (count, *self.spec.image_shape)),
            ("labels", examples.labels, np.int32, (count,)),
        ):
            if (array.dtype, array.shape) != (dtype, shape):
                raise TrainerError(
                    f"dataset {self.spec.name} loads {name} {array.dtype} {array.shape}, where its "
                    f"spec needs {np.dtype(dtype)} {shape}"
                )
        labels = examples.labels
        if count and not 0 <= labels.min() <= labels.max() < self.spec.num_classes:
            raise TrainerError(
                f"dataset {self.spec.name} has labels from {labels.min()} to {labels.max()}, which "
                f"are not in [0, {self.spec.num_classes}); set num_classes of its spec"
            )
        return examples
