"""The embedded dataset: scikit-learn's 1,797 scanned digits, which need no download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.config.registry import configurable
from trainer.data.dataset import Dataset, DatasetSpec, Examples

_SIZE = 28
_NUM_TEST = 297


@configurable
def digits(*, data_dir: str | None = None) -> Dataset:
    """Scanned digits, 8x8 pixels of 17 grey levels, enlarged to MNIST's 28x28.

    The last 297 are the test split: the source is ordered by writer.

    Args:
      data_dir: Ignored: the images come with scikit-learn.
    """
    del data_dir
    spec = DatasetSpec("digits", image_shape=(_SIZE, _SIZE, 1), num_classes=10)
    return Dataset(spec, _load)


def _load(split: str) -> Examples:
    part = {"train": slice(None, -_NUM_TEST), "test": slice(-_NUM_TEST, None)}[split]
    rows = _rows()[part]
    images = np.stack([_enlarge(row.reshape(8, 8)) for row in rows[:, :-1]])
    return Examples(images[..., np.newaxis], rows[:, -1].astype(np.int32))


def _rows() -> np.ndarray:
    """The file that `sklearn.datasets.load_digits` reads, [1797, 65]: the pixels and the label.

    scikit-learn itself takes a second to import.
    """
    package = importlib.util.find_spec("sklearn")
    assert package and package.origin
    return np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")


def _enlarge(image: np.ndarray) -> np.ndarray:
    """[8, 8] in [0, 16] -> uint8 [28, 28]: 24x24 pixels and a margin of two."""
    small = Image.fromarray(np.round(image * 255 / 16).astype(np.uint8))
    large = small.resize((_SIZE - 4, _SIZE - 4), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(large), 2)
