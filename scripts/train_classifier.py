"""Trains the classifier whose features evaluation uses, and writes its weights.

  python scripts/train_classifier.py --gin_file=mnist.gin --output=mnist-v1.npz

It prints the test accuracy, and the sha256 to put into
trainer/evaluation/features/classifier.py.
"""

from __future__ import annotations

import hashlib

from absl import flags

from trainer import files
from trainer.config import gin_reader
from trainer.tools import command_line

GIN_FILE = flags.DEFINE_multi_string(
    "gin_file",
    None,
    "A gin file that names the dataset: a path, or a name in configs/. Required.",
    required=True,
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Directory of prepared datasets. Default: TensorFlow Datasets' own."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "Path of the .npz file to write. Required.", required=True
)


def _train() -> None:
    gin_reader.find_all(GIN_FILE.value)
    command_line.import_tensorflow()
    from trainer.evaluation.features import classifier
    from trainer.experiment import Experiment

    for path in (OUTPUT.value, DATA_DIR.value or ""):
        files.check(path)
    dataset = Experiment.from_gin(GIN_FILE.value).dataset(data_dir=DATA_DIR.value)
    weights = classifier.fit(dataset.spec, dataset.load("train"), dataset.load("test"), verbose=2)
    content = classifier.pack(weights)
    files.write_file(OUTPUT.value, content)
    print(f"test accuracy {weights['test_accuracy']:.4f}, {len(content):,} bytes: {OUTPUT.value}")
    print(f"sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    command_line.run(_train, doc=__doc__, interrupted="Stopped; nothing was written.")
