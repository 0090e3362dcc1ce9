"""A GanTrainer on noise in the size of MNIST, and what tests compare of trained ones."""

from __future__ import annotations

import numpy as np

from support import combinations

IMAGES = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1), dtype=np.uint8)
LABELS = np.arange(100, dtype=np.int32) % 3


def make_trainer(strategy, **settings):
    """The tutorial's GAN with other settings, on IMAGES of three classes."""
    given = {"images": IMAGES, "labels": LABELS, "num_classes": 3}
    return combinations.make(strategy, **(given | settings))


def weights(trainer):
    """Every variable of both networks, as arrays."""
    variables = [*trainer.generator.variables, *trainer.discriminator.variables]
    return [v.numpy() for v in variables]


def relative_error(a, b):
    """The largest error of two lists of arrays, each relative to the array's largest value."""
    return max(np.abs(x - y).max() / max(np.abs(y).max(), 1e-3) for x, y in zip(a, b, strict=True))


def operations(function):
    """The types of a traced function's operations, and of those of the functions it calls."""
    definition = function.get_concrete_function().graph.as_graph_def(add_shapes=False)
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return {node.op for node in nodes}
