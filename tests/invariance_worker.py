"""Trains cases of test_invariance.py on one layout of replicas; run as a process of its own.

    python invariance_worker.py LAYOUT OUTPUT_DIR CASE...

LAYOUT is a number of virtual CPU replicas, or "workers" for the processes of TF_CONFIG. For each
case, the chief writes OUTPUT_DIR/CASE.npz: all weights, optimizer slots and metrics.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import sklearn.datasets

import trainer  # noqa: F401  sets Keras's backend

import keras  # isort: skip

from trainer import augment, losses, opponents, optimizers, penalties, schedules, strategy
from trainer.gan import GanTrainer
from trainer.models import article, chatgpt, conditional, residual

BATCH_SIZE = 16
NUM_STEPS = 20
CONDITIONAL = (conditional.generator, conditional.embedding_generator)


def _fading(value):
    return schedules.cosine(first=value, last=value / 2, steps=15, warm_up_steps=5)


# What ships, each a line: what differs from the article's GAN, and the dtype.
CASES = {
    "article": {},
    "norm_first": {"generator": article.norm_first_generator},
    "upsampling": {"generator": article.upsampling_generator},
    "chatgpt": {"generator": chatgpt.generator, "discriminator": chatgpt.discriminator},
    "soft_noisy_labels": {
        "loss": losses.binary_cross_entropy(real_label=0.9, flip_probability=0.1)
    },
    "minimax": {"loss": losses.minimax()},
    "least_squares": {"loss": losses.least_squares()},
    "hinge": {"loss": losses.hinge()},
    "wasserstein_gp": {
        "loss": losses.wasserstein(),
        "penalties": [penalties.gradient_penalty()],
    },
    "relativistic_r1_r2": {
        "loss": losses.relativistic_paired(),
        "penalties": [penalties.r1(), penalties.r2()],
    },
    "ema": {"ema_half_life": 100},
    "replay": {"opponents": functools.partial(opponents.Replay, size=64)},
    "past_generator": {"opponents": functools.partial(opponents.PastGenerator, period=4)},
    "sgd": {"discriminator_optimizer": optimizers.sgd},
    "schedules": {
        "generator_optimizer": functools.partial(
            optimizers.adam, learning_rate=_fading(1e-3), beta_2=_fading(0.9), weight_decay=0.1
        ),
        "penalties": [penalties.r1(gamma=_fading(10.0))],
    },
    "noise_and_steps": {
        "augmentations": [functools.partial(augment.InstanceNoise, deviation=_fading(0.2))],
        "discriminator_steps": 2,
    },
    "augmentations": {
        "augmentations": [
            augment.DiffAugment,
            functools.partial(augment.AdaptiveAugment, target=-1.0, adjustment=200),
        ]
    },
    "auxiliary_classifier": {
        "generator": conditional.generator,
        "discriminator": conditional.auxiliary_discriminator,
    },
    "projection": {
        "generator": conditional.generator,
        "discriminator": conditional.projection_discriminator,
    },
    "label_embeddings": {
        "generator": conditional.embedding_generator,
        "discriminator": conditional.embedding_discriminator,
    },
    "spectral_norm": {"discriminator": functools.partial(article.discriminator, spectral=True)},
    "minibatch_deviation": {
        "discriminator": functools.partial(article.discriminator, group_size=4)
    },
    "generator_dropout": {"generator": functools.partial(article.generator, dropout=0.5)},
    "residual": {
        "generator": functools.partial(residual.generator, width=16),
        "discriminator": functools.partial(residual.discriminator, width=16),
    },
    "article_float32": {"dtype": "float32"},
    # Not invariant, by its very meaning: it shows that the battery can tell.
    "batch_norm_per_replica": {
        "generator": functools.partial(article.generator, synchronized=False)
    },
}


def train(distribution, *, dtype="float64", **changes) -> dict[str, np.ndarray]:
    """The state and the metrics after NUM_STEPS steps of one case."""
    keras.config.set_floatx(dtype)
    digits = sklearn.datasets.load_digits()
    images = digits.images[:500, :, :, np.newaxis] * 255 / 16
    settings = {
        "generator": article.generator,
        "discriminator": article.discriminator,
        "loss": losses.binary_cross_entropy(),
        "generator_optimizer": optimizers.adam,
        "discriminator_optimizer": optimizers.adam,
    }
    if changes.get("generator") in CONDITIONAL:
        settings |= {"labels": digits.target[:500].astype(np.int32), "num_classes": 10}
    gan = GanTrainer(
        strategy=distribution,
        images=images.astype(np.uint8),
        latent_dim=50,
        batch_size=BATCH_SIZE,
        seed=0,
        precision=dtype,
        **(settings | changes),
    )
    metrics = gan.train(NUM_STEPS)
    items = gan.checkpoint_items
    return {
        "weights": _vector([*gan.generator.variables, *gan.discriminator.variables]),
        "slots": _vector(items["generator_optimizer"][1:] + items["discriminator_optimizer"][1:]),
        "memories": _vector(
            [v for n in items for v in items[n] if n[:8] in ("opponent", "augmenta")]
        ),
        "samples": gan.sample(gan.latents(8)),
        "metrics": np.array(list(metrics.values())),
    }


def _vector(variables) -> np.ndarray:
    return np.concatenate([v.numpy().ravel() for v in variables])


def main(layout: str, output: str, *cases: str) -> None:
    """Runs some of CASES on one layout."""
    if layout == "workers":
        distribution = strategy.multi_worker()
    else:
        distribution = strategy.mirrored(virtual_cpus=int(layout))
    for name in cases:
        result = train(distribution, **CASES[name])
        if strategy.is_chief(distribution):
            np.savez(Path(output) / f"{name}.npz", **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
