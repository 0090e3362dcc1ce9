"""Trains the classifier whose features evaluation uses, and writes its weights for the package.

    python scripts/train_classifier.py --dataset=mnist --data_dir=DATA --output=mnist-v1.npz

Prints the test accuracy and the sha256 to put into trainer/evaluation/features/classifier.py.
"""

from __future__ import annotations

import hashlib

from absl import flags

import trainer  # noqa: F401  sets Keras's backend
from trainer import files
from trainer.data import tfds_source
from trainer.evaluation.features import classifier
from trainer.tools import command_line

DATASET = flags.DEFINE_string("dataset", None, "A TFDS builder's name.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared datasets. Default: TFDS's own.")
OUTPUT = flags.DEFINE_string("output", None, "The .npz file to write.", required=True)


def _train() -> None:
    for path in (OUTPUT.value, DATA_DIR.value or ""):
        files.check(path)
    dataset = tfds_source.from_builder(name=DATASET.value, data_dir=DATA_DIR.value)
    weights = classifier.fit(dataset.spec, dataset.load("train"), dataset.load("test"), verbose=2)
    content = classifier.pack(weights)
    files.write_file(OUTPUT.value, content)
    print(f"test accuracy {weights['test_accuracy']:.4f}, {len(content):,} bytes: {OUTPUT.value}")
    print(f"sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    command_line.run(_train, doc=__doc__, interrupted="Stopped; nothing was written.")
