"""What several test modules share: the trainer as a process, and what it leaves on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gin
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from trainer import config
from trainer.evaluation.card import TITLES, Card, Metric

SMALL = ["--gin_param=train.num_steps=6", "--gin_param=train.steps_per_loop=2"]
SMALL += ["--gin_param=train.sample_every=4", "--gin_param=train.checkpoint_every=3"]
DIGITS = ["--gin_file=digits.gin", *SMALL]
"""Six steps on the embedded digits, two a call."""


def command(*arguments):
    return [sys.executable, "-m", "trainer.main", *arguments]


def environment(**changes):
    return os.environ | {"CUDA_VISIBLE_DEVICES": ""} | changes


def run(*arguments, code=0, cwd=None, **changes):
    """Runs the trainer to its end; returns what it printed, and what it logged."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=environment(**changes),
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def load(model_dir):
    """The Run in a directory, built again from its config, with untrained weights."""
    found = []
    config.load_saved(str(model_dir), [])
    config.call("train", model_dir=str(model_dir), task=lambda made: found.append(made) or 0)
    gin.clear_config()
    return found[0]


def error_line(*arguments, code=1, **settings):
    """The one line that a refused run prints."""
    _, log = run(*arguments, code=code, **settings)
    line = log.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def checkpoint(model_dir, step):
    """Every tensor of a checkpoint, by name."""
    reader = tf.train.load_checkpoint(str(Path(model_dir) / "checkpoints" / f"step-{step}"))
    names = [n for n in reader.get_variable_to_shape_map() if not n.startswith(("_", "save_"))]
    return {name: np.asarray(reader.get_tensor(name)) for name in names}


def state(trainer):
    """Every variable of a GanTrainer's checkpoint, by name."""
    found = {}
    for name, item in sorted(trainer.checkpoint_items.items()):
        variables = getattr(item, "variables", item)
        for i, variable in enumerate(variables if isinstance(variables, list) else [variables]):
            found[f"{name} {i}"] = variable.numpy()
    return found


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def tf_config(addresses, index, job="worker"):
    """TF_CONFIG of one process of a cluster of "host:port"s, or of a dict from jobs to those."""
    jobs = addresses if isinstance(addresses, dict) else {"worker": addresses}
    return json.dumps({"cluster": jobs, "task": {"type": job, "index": index}})


def make_card(fid=0.5, **changes):
    """A card of no run, with the given FID."""
    metrics = dict.fromkeys(TITLES, Metric(0.5, 0.1)) | {"fid": Metric(fid, 0.1, 0.4, 0.6)}
    fields = {
        **{"dataset": "digits", "step": 7, "images_seen": 224, "weights": "raw", "seed": 3},
        **{"num_samples": 3, "num_test": 4, "metrics": metrics},
        **{"extractor": "digits-v1", "extractor_sha256": "ab" * 32, "extractor_accuracy": 0.97},
        **{"class_counts": [1, 2], "class_counts_real": [2, 2]},
        **{"confidence_counts": [0] * 19 + [3], "confidence_counts_real": [0] * 19 + [4]},
    }
    return Card(**(fields | changes))


def write_mnist(data_dir, num_train, num_test, name="mnist"):
    """A small "mnist", or another of TFDS's, in data_dir; its builder wants all its images.

    Three pixels of an image tell which it is: its digit, its number and its split (0 or 1).
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
