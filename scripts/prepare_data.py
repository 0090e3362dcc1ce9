"""Prepares MNIST or Fashion-MNIST for TFDS from IDX archives, on a machine that cannot download.

    python scripts/prepare_data.py --dataset=mnist --archives=DIR --data_dir=DIR

DIR of --archives holds the four published .gz files; they are checked before anything is written.
"""

from __future__ import annotations

from absl import app, flags

from trainer import errors, storage
from trainer.data import archives

DATASET = flags.DEFINE_enum("dataset", None, archives.DATASETS, "Which dataset.", required=True)
ARCHIVES = flags.DEFINE_string(
    "archives", None, "Directory of train-images-idx3-ubyte.gz and the other three.", required=True
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where to prepare it, and what to pass to the trainer. Default: TFDS's own."
)


def main(argv: list[str]) -> int:
    """Returns the exit code; a TrainerError becomes one line and exit code 1."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]}; every setting has a --flag")
    return errors.exit_code(_prepare, "Stopped. The same command begins again.")


def _prepare() -> None:
    storage.check(DATA_DIR.value or "")
    prepared = archives.prepare(DATASET.value, ARCHIVES.value, DATA_DIR.value)
    print(f"{DATASET.value} is prepared in {prepared}")


if __name__ == "__main__":
    app.run(main)
