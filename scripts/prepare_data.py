"""Prepares MNIST or Fashion-MNIST for TFDS, on a machine without internet.

  python scripts/prepare_data.py --dataset=mnist --archives=DIR --data_dir=DIR

--archives names a directory with the four published .gz files; they are checked
before anything is written.
"""

from __future__ import annotations

from absl import flags

from trainer import files
from trainer.data import archives
from trainer.tools import command_line

DATASET = flags.DEFINE_enum(
    "dataset", None, archives.DATASETS, "The dataset to prepare. Required.", required=True
)
ARCHIVES = flags.DEFINE_string(
    "archives",
    None,
    "Directory of train-images-idx3-ubyte.gz and the other three. Required.",
    required=True,
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Directory to write to, which the trainer takes as --data_dir. Default: TensorFlow Datasets' "
    "own.",
)


def _prepare() -> None:
    archives.verify(
        DATASET.value, ARCHIVES.value
    )  # before TensorFlow is imported, which takes seconds
    command_line.import_tensorflow()
    files.check(DATA_DIR.value or "")
    prepared = archives.prepare(DATASET.value, ARCHIVES.value, DATA_DIR.value)
    print(f"{DATASET.value} is prepared in {prepared}")


if __name__ == "__main__":
    command_line.run(_prepare, doc=__doc__, interrupted="Stopped; the same command starts again.")
