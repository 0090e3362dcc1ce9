"""A small dataset that TFDS takes for MNIST."""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds


def write_mnist(data_dir, num_train, num_test, name="mnist"):
    """Writes a small "mnist", or another dataset of TFDS, into data_dir, as if TFDS prepared it.

    The first three pixels of an image identify it: its label, its index and its split (0 or 1).
    """
    builder = tfds.builder(name, data_dir=data_dir)
    shape = builder.info.features["image"].shape
    splits = {}
    for i, (split, count) in enumerate((("train", num_train), ("test", num_test))):
        images = np.random.default_rng(i).integers(0, 256, (count, *shape), np.uint8)
        labels = np.arange(count) % 10
        images[:, 0, :3, 0] = np.stack([labels, np.arange(count), np.full(count, i)], axis=1)
        examples = zip(images, labels, strict=True)
        splits[split] = [(j, {"image": x, "label": y}) for j, (x, y) in enumerate(examples)]
        if "id" in builder.info.features:
            splits[split] = [(j, example | {"id": str(j)}) for j, example in splits[split]]
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets=splits,
        data_dir=data_dir,
    )
