"""Stacked MNIST: three digits as the channels of a colour image, for counting modes.

Metz et al., "Unrolled Generative Adversarial Networks", 2017. Its thousand classes are equally
likely, so that the classes that a generator has dropped can be counted. Srivastava et al. (VEEGAN,
2017) and Lin et al. (PacGAN, 2018) evaluate 26,000 samples; here the test split is as large.
"""

from __future__ import annotations

import numpy as np

from trainer.config.registry import configurable
from trainer.data import tfds_source
from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.errors import TrainerError

CHANNELS = 3
_FIRST_KEY = 1 << 32  # above any epoch of batches.BatchSampler, whose keys are (seed, epoch)


@configurable
def stacked_mnist(
    *,
    data_dir: str | None = None,
    num_train: int = 60_000,
    num_test: int = 26_000,
    seed: int = 0,
) -> Dataset:
    """Stacked MNIST: 28x28 RGB images, each channel a digit of MNIST; class 100 R + 10 G + B.

    The split "train" is stacked from MNIST's split "train", and "test" from "test".

    Args:
      data_dir: Directory of prepared datasets, among them MNIST; None for TFDS's own.
      num_train: Images in the split "train", at least 1.
      num_test: Images in the split "test", at least 1.
      seed: Seed of the choice of digits, 0 <= seed < 2**64.

    Raises:
      TrainerError: if a setting is out of its range.
    """
    counts = {"train": num_train, "test": num_test}
    for split, count in counts.items():
        if count < 1:
            raise TrainerError(f"stacked_mnist.num_{split}={count} must be at least 1")
    if not 0 <= seed < 2**64:
        raise TrainerError(f"stacked_mnist.seed={seed} must be at least 0 and less than 2**64")

    def load(split: str) -> Examples:
        digits = tfds_source.mnist(data_dir=data_dir).load(split)
        first = _FIRST_KEY + list(counts).index(split) * CHANNELS
        return stack(digits, counts[split], [(seed, first + c) for c in range(CHANNELS)])

    spec = DatasetSpec("stacked_mnist", (28, 28, CHANNELS), num_classes=1000, num_train=num_train)
    return Dataset(spec, load)


def stack(digits: Examples, count: int, keys: list[tuple[int, int]]) -> Examples:
    """Stacks digits into images with several channels.

    A channel shows all digits once, in a random order, before it shows one again.

    Args:
      digits: Images [M, H, W, 1] with labels in [0, 10).
      count: Number of images to make.
      keys: For each channel, the key of its random order: two integers in [0, 2**64).

    Returns:
      Images uint8 [count, H, W, len(keys)]; the digits' labels are those of a decimal number, the
      first channel's first.
    """
    images = np.empty((count, *digits.images.shape[1:3], len(keys)), np.uint8)
    labels = np.zeros(count, np.int32)
    for channel, key in enumerate(keys):
        order = _order(len(digits.images), count, key)
        images[..., channel] = digits.images[order, ..., 0]
        labels = 10 * labels + digits.labels[order]
    return Examples(images, labels)


def _order(num_digits: int, count: int, key: tuple[int, int]) -> np.ndarray:
    """int [count]: one permutation of range(num_digits) after another."""
    # As in batches.BatchSampler: a bit generator's words never change between NumPy's releases.
    generator = np.random.Philox(key=key)
    passes = -(-count // num_digits)
    orders = [np.argsort(generator.random_raw(num_digits), kind="stable") for _ in range(passes)]
    return np.concatenate(orders)[:count]
