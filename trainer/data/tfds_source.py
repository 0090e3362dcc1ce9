"""Datasets from TensorFlow Datasets' own builders, downloaded and prepared on first use."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import numpy as np
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format

from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.errors import TrainerError

_PROBE_SECONDS = 10


def mnist(*, data_dir: str | None = None) -> Dataset:
    """MNIST (LeCun et al., 1998): 60,000 + 10,000 digits, 28x28 grey."""
    return from_builder("mnist", data_dir=data_dir, num_train=60_000)


def fashion_mnist(*, data_dir: str | None = None) -> Dataset:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 articles of clothing, 28x28 grey."""
    return from_builder("fashion_mnist", data_dir=data_dir, num_train=60_000)


def from_builder(
    name: str, *, data_dir: str | None = None, num_train: int | None = None
) -> Dataset:
    """Any TFDS builder whose examples hold a uint8 `image` of one size and a `label`.

    Args:
      name: The builder's name, such as "mnist".
      data_dir: Where TFDS keeps prepared datasets; by default its own choice.
      num_train: Images in its split "train", where TFDS knows only once it is prepared.
    """
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except json_format.ParseError as error:
        root = data_dir or tfds.core.constants.DATA_DIR
        raise _incomplete(f"{root}/{name}", error) from error
    features = builder.info.features
    spec = DatasetSpec(
        name,
        image_shape=tuple(features["image"].shape),
        num_classes=features["label"].num_classes,
        num_train=num_train,
    )

    def load(split: str) -> Examples:
        if not builder.is_prepared():
            _prepare(builder)
        if split not in builder.info.splits:
            raise TrainerError(
                f"{name} has no split '{split}', only {', '.join(builder.info.splits)}; training "
                "needs 'train' and evaluation 'test' too"
            )
        try:
            # One batch of everything, files unshuffled: the same order on every machine.
            whole = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        except (tf.errors.OpError, OSError) as error:
            raise _incomplete(builder.data_path, error) from error
        return Examples(whole["image"], whole["label"].astype(np.int32))

    return Dataset(spec, load)


def _incomplete(path: object, error: Exception) -> TrainerError:
    reason = re.sub(r"\{\{.*?\}\}\s*", "", str(error)).strip().splitlines()[0][:200]
    return TrainerError(
        f"{path} is incomplete or damaged ({reason}): remove it and prepare the dataset again"
    )


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and prepares, after a probe: TFDS alone retries for minutes when offline.

    Raises:
      TrainerError: if the source cannot be reached, naming both remedies.
    """
    url = getattr(builder, "URL", None)
    try:
        if url:
            requests.head(url, timeout=_PROBE_SECONDS)
        builder.download_and_prepare()
    except (requests.exceptions.RequestException, tfds.download.DownloadError) as error:
        root = builder.data_path.parents[1]
        raise TrainerError(
            f"{builder.name} is not prepared in {root} and "
            f"{urlsplit(url or '').netloc or 'its source'} cannot be reached: run once on a "
            "connected machine, or prepare it from IDX archives with `python "
            f"scripts/prepare_data.py --dataset={builder.name} --archives=DIR --data_dir={root}`"
        ) from error
