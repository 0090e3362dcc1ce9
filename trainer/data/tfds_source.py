"""Datasets from TensorFlow Datasets (TFDS), downloaded and prepared on first use."""

from __future__ import annotations

from os import PathLike
from urllib.parse import urlsplit

import numpy as np
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format

from trainer import files
from trainer.config.registry import configurable
from trainer.data import archives
from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.errors import TrainerError, first_line


@configurable
def mnist(*, data_dir: str | None = None) -> Dataset:
    """MNIST (LeCun et al., 1998): 60,000 + 10,000 digits, 28x28, grey.

    Args:
      data_dir: Directory of prepared datasets; None for TFDS's own.
    """
    return from_builder(name="mnist", data_dir=data_dir, num_train=60_000)


@configurable
def fashion_mnist(*, data_dir: str | None = None) -> Dataset:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 pieces of clothing, 28x28, grey.

    Args:
      data_dir: Directory of prepared datasets; None for TFDS's own.
    """
    return from_builder(name="fashion_mnist", data_dir=data_dir, num_train=60_000)


@configurable
def cifar10(*, data_dir: str | None = None) -> Dataset:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 photographs in ten classes, 32x32, RGB.

    Args:
      data_dir: Directory of prepared datasets; None for TFDS's own.
    """
    return from_builder(name="cifar10", data_dir=data_dir, num_train=50_000)


@configurable
def from_builder(
    *, name: str, data_dir: str | None = None, num_train: int | None = None
) -> Dataset:
    """Any TFDS dataset whose examples have a uint8 `image` of fixed size and a `label`.

    Args:
      name: Name of its builder, such as "mnist".
      data_dir: Directory of prepared datasets; None for TFDS's own.
      num_train: Number of images in the split "train"; TFDS knows it only after preparing.

    Raises:
      TrainerError: if the prepared dataset is damaged.
    """
    if ":" in name:  # which TFDS would download, and run
        raise TrainerError(
            f"from_builder.name='{name}' is a community dataset, which comes with code of its "
            "own; write a function that loads it, as docs/extending.md does"
        )
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
                "needs 'train', and evaluation 'test' too"
            )
        try:
            # One batch of all examples, files unshuffled: the same order on every machine.
            whole = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        except (tf.errors.OpError, OSError) as error:
            raise _incomplete(builder.data_path, error) from error
        return Examples(whole["image"], whole["label"].astype(np.int32))

    return Dataset(spec, load)


def _incomplete(path: object, error: Exception) -> TrainerError:
    return TrainerError(
        f"{path} is incomplete or damaged ({first_line(error)}): remove it and prepare the dataset "
        "again"
    )


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and prepares, after a probe: offline, TFDS itself would retry for minutes.

    Raises:
      TrainerError: if a source cannot be reached, naming the remedies, or a file has the wrong
        checksum.
    """
    by_hand = builder.data_path.parents[1] / "downloads" / "manual"  # where TFDS looks first
    missing = {
        url: source.filename
        for url, source in (builder.url_infos or {}).items()
        if not (source.filename and (by_hand / source.filename).exists())
    }
    url = next(iter(missing), None)
    try:
        if url:
            files.probe(url)
        builder.download_and_prepare()
    except (requests.exceptions.RequestException, tfds.download.DownloadError) as error:
        raise TrainerError(
            f"{builder.name} is not prepared in {builder.data_path.parents[1]} and "
            f"{urlsplit(url or '').netloc or 'its source'} cannot be reached: run once on a "
            f"connected machine, or {_remedy(builder, by_hand, missing)}"
        ) from error
    except tfds.download.download_manager.NonMatchingChecksumError as error:
        reason = first_line(error).rstrip(":")
        raise TrainerError(f"{builder.name}: {reason}: remove it and fetch it again") from error


def _remedy(
    builder: tfds.core.DatasetBuilder, by_hand: PathLike, missing: dict[str, str | None]
) -> str:
    """What to do on a machine that cannot download."""
    if builder.name in archives.DATASETS:
        return (
            "prepare it from IDX archives with `python scripts/prepare_data.py "
            f"--dataset={builder.name} --archives=DIR --data_dir={builder.data_path.parents[1]}`"
        )
    if missing and all(missing.values()):
        return f"put {' and '.join(missing)} into {by_hand}"
    return f"copy {builder.data_path} from there"
