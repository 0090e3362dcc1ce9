"""Weights and other state, from a checkpoint or from memory, and their comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf


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
