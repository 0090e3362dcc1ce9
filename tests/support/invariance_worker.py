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

from support.combinations import COMBINATIONS, make
from trainer.distributed import multihost, strategy
from trainer.gan import losses, penalties
from trainer.models import chatgpt, dcgan

NUM_STEPS = 20

# All that ships: the settings that differ from the tutorial's GAN, and the dtype.
CASES = {
    "dcgan": {},
    "norm_first": {"generator": dcgan.norm_first_generator},
    "upsampling": {"generator": dcgan.upsampling_generator},
    "chatgpt": {"generator": chatgpt.generator, "discriminator": chatgpt.discriminator},
    "soft_noisy_labels": {
        "loss": functools.partial(losses.binary_cross_entropy, real_label=0.9, flip_probability=0.1)
    },
    "minimax": {"loss": losses.minimax},
    "least_squares": {"loss": losses.least_squares},
    "hinge": {"loss": losses.hinge},
    "wasserstein_gp": {
        "loss": losses.wasserstein,
        "penalties": [penalties.gradient_penalty],
    },
    "relativistic_r1_r2": {
        "loss": losses.relativistic_paired,
        "penalties": [penalties.r1, penalties.r2],
    },
    "ema": {"ema_half_life": 100},
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
    for name in cases:
        result = train(distribution, **CASES[name])
        if multihost.is_chief(distribution):
            np.savez(Path(output) / f"{name}.npz", **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
