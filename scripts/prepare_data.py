"""Prepares MNIST or Fashion-MNIST for TFDS from IDX archives, on a machine that cannot download.

    python scripts/prepare_data.py --dataset=mnist --archives=DIR --data_dir=DIR

DIR of --archives holds the four published .gz files; they are checked before anything is written.
"""

from __future__ import annotations

from absl import flags

from trainer import files
from trainer.data import archives
from trainer.tools import command_line

DATASET = flags.DEFINE_enum("dataset", None, archives.DATASETS, "Which dataset.", required=True)
ARCHIVES = flags.DEFINE_string(
    "archives", None, "Directory of train-images-idx3-ubyte.gz and the other three.", required=True
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where to prepare it, and what to pass to the trainer. Default: TFDS's own."
)


def _prepare() -> None:
    files.check(DATA_DIR.value or "")
    prepared = archives.prepare(DATASET.value, ARCHIVES.value, DATA_DIR.value)
    print(f"{DATASET.value} is prepared in {prepared}")


if __name__ == "__main__":
    command_line.run(_prepare, doc=__doc__, interrupted="Stopped. The same command begins again.")
