"""Prepares TFDS's MNIST and Fashion-MNIST from IDX archives, on machines that cannot download."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import zlib
from pathlib import Path

import tensorflow_datasets as tfds

from trainer.errors import TrainerError

# sha256 of the decompressed content: gzip's own bytes change when an archive is packed again.
_SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}  # fmt: skip

DATASETS = tuple(_SHA256)


def verify(dataset: str, archives: str | Path) -> None:
    """Checks the four .gz archives of `dataset` in the directory `archives`.

    Raises:
      TrainerError: naming the first archive that is missing, damaged, or another dataset's.
    """
    for stem, expected in _SHA256[dataset].items():
        path = Path(archives) / f"{stem}.gz"
        found = _content_sha256(path)
        if found == expected:
            continue
        owner = next(
            (f"{d}'s {s}" for d in _SHA256 for s, h in _SHA256[d].items() if h == found), None
        )
        fault = (
            f"holds {owner}" if owner else f"is damaged or altered (content sha256 {found[:12]}...)"
        )
        raise TrainerError(
            f"{path} {fault}, where {dataset}'s {stem} (content sha256 {expected[:12]}...) was "
            "expected: fetch it again"
        )


def _content_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as content:
            while block := content.read(1 << 20):
                digest.update(block)
    except FileNotFoundError as error:
        raise TrainerError(
            f"{path} is missing: --archives must name a directory that holds the dataset's four "
            ".gz archives"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise TrainerError(f"{path} is damaged ({error}): fetch it again") from error
    return digest.hexdigest()


def prepare(dataset: str, archives: str | Path, data_dir: str | Path | None = None) -> Path:
    """Prepares `dataset` with TFDS's own builder, which reads archives instead of downloading.

    Args:
      dataset: One of DATASETS.
      archives: Directory with the four .gz archives.
      data_dir: Directory of prepared datasets; None for TFDS's own.

    Returns:
      The directory of the prepared dataset.

    Raises:
      TrainerError: as `verify` does, before anything is written.
    """
    verify(dataset, archives)
    builder = tfds.builder(dataset, data_dir=data_dir)
    builder.URL = f"{Path(archives).resolve().as_uri()}/"
    with tempfile.TemporaryDirectory() as scratch:
        builder.download_and_prepare(download_dir=scratch)
    return builder.data_path
