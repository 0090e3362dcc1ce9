"""Stacked MNIST: three digits as the channels of a colour image, so that its modes can be counted.

Metz et al., "Unrolled Generative Adversarial Networks", 2017. A thousand classes, all equally
likely, show which ones a generator has dropped. 26,000 images to compare with, as many as the
samples, are those of Srivastava et al. (VEEGAN, 2017) and Lin et al. (PacGAN, 2018).
"""

from __future__ import annotations

import numpy as np

from trainer.data import tfds_source
from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.errors import TrainerError

CHANNELS = 3
_FIRST_KEY = 1 << 32  # beyond the epochs of pipeline.BatchSampler, whose keys are (seed, epoch)


def stacked_mnist(
    *,
    data_dir: str | None = None,
    num_train: int = 60_000,
    num_test: int = 26_000,
    seed: int = 0,
) -> Dataset:
    """Stacked MNIST: 28x28 RGB, one digit of MNIST a channel, labelled 100 R + 10 G + B.

    "train" stacks digits of MNIST's split of that name only, and so does "test".

    Args:
      data_dir: Where TFDS keeps prepared datasets, MNIST among them; by default its own choice.
      num_train: Images in the split "train".
      num_test: Images in the split "test".
      seed: 0 <= seed < 2**64; says which digits meet.

    Raises:
      TrainerError: if a setting breaks a rule.
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
    """`count` images, each of whose channels is one of `digits` [M, H, W, 1], by a key of its own.

    A channel shows all M digits once, in a random order, before it shows one again.
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
    # Sorted words of a bit generator, as in pipeline.BatchSampler: NumPy may not change them.
    generator = np.random.Philox(key=key)
    passes = -(-count // num_digits)
    orders = [np.argsort(generator.random_raw(num_digits), kind="stable") for _ in range(passes)]
    return np.concatenate(orders)[:count]
