"""Trains cases of test_invariance.py on one layout of replicas; run as a process of its own.

    python -m support.invariance_worker LAYOUT OUTPUT_DIR CASE...

LAYOUT is a number of virtual CPU replicas, or "workers" for the processes of TF_CONFIG. For each
case, the chief writes OUTPUT_DIR/CASE.npz: weights, optimizer slots, the state of augmentations and
replay, samples and metrics.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np

import trainer  # noqa: F401  sets Keras's backend

import keras  # isort: skip
import tensorflow as tf  # isort: skip

from support.combinations import COMBINATIONS, make
from trainer.distributed import multihost, strategy
from trainer.gan import losses, penalties, replay
from trainer.models import chatgpt, dcgan

NUM_STEPS = 20

# All that ships: the settings that differ from the tutorial's GAN, and the dtype. A network and a
# loss that are independent of each other share a case; COMBINATIONS have the rest.
CASES = {
    "dcgan": {},
    "norm_first, wasserstein_gp": {
        "generator": dcgan.norm_first_generator,
        "loss": losses.wasserstein,
        "penalties": [penalties.gradient_penalty],
    },
    "upsampling, least_squares": {
        "generator": dcgan.upsampling_generator,
        "loss": losses.least_squares,
        "replay": functools.partial(replay.ImagePool, size=32),
        "discriminator_steps": 2,
    },
    "chatgpt, hinge": {
        "generator": chatgpt.generator,
        "discriminator": chatgpt.discriminator,
        "loss": losses.hinge,
    },
    **COMBINATIONS,
    "dcgan_float32": {"dtype": "float32"},
    # Not invariant by definition: it shows that the comparison can fail.
    "batch_norm_per_replica": {"generator": functools.partial(dcgan.generator, synchronized=False)},
}


def train(distribution, *, dtype="float64", **changes) -> dict[str, np.ndarray]:
    """The state and the metrics after NUM_STEPS steps of one case."""
    keras.config.set_floatx(dtype)
    gan = make(distribution, precision=dtype, **changes)
    metrics = gan.train(NUM_STEPS)
    items = gan.checkpoint_items
    others = [
        variable
        for name in items
        if name.startswith(("replay", "augmentation"))
        for variable in items[name]
    ]
    return {
        "weights": _vector([*gan.generator.variables, *gan.discriminator.variables]),
        "slots": _vector(items["generator_optimizer"][1:] + items["discriminator_optimizer"][1:]),
        "others": _vector(others),
        "samples": gan.inference.sample(gan.inference.latents(8)),
        "metrics": np.array(list(metrics.values())),
    }


def _vector(variables) -> np.ndarray:
    return np.concatenate([v.numpy().ravel() for v in variables]) if variables else np.zeros(0)


def main(layout: str, output: str, *cases: str) -> None:
    """Trains some of CASES on one layout."""
    if layout == "workers":
        distribution = strategy.multi_worker()
    else:
        distribution = strategy.mirrored(virtual_cpus=int(layout))
    # A third of the time would go into making graphs faster that run twenty times.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    for name in cases:
        result = train(distribution, **CASES[name])
        if multihost.is_chief(distribution):
            np.savez(Path(output) / f"{name}.npz", **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
