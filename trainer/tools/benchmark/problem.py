"""The work of every loop: the tutorial's GAN on noise in place of MNIST's images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer import rng
from trainer.data.batches import normalise
from trainer.gan.trainer import GanConfig, GanTrainer
from trainer.models import dcgan

LATENT_DIM = 50
DROPOUT = 0.4


class Problem(NamedTuple):
    """The start of all loops, so that their first losses, without dropout, can be compared."""

    images: np.ndarray
    """uint8 [N, 28, 28, 1]."""
    real: np.ndarray
    """float32 [B, 28, 28, 1] in [-1, 1], the first step's batch."""
    latents: np.ndarray
    """float32 [2, B, Z], one batch for each phase of the first step."""
    weights: list[np.ndarray]
    """Weights of the generator, then of the discriminator, in Keras's order."""

    def save(self, path: str) -> None:
        """Writes it to an .npz file."""
        np.savez(path, *self.weights, images=self.images, real=self.real, latents=self.latents)

    @classmethod
    def load(cls, path: str) -> Problem:
        """Reads what `save` wrote."""
        with np.load(path) as file:
            weights = [file[name] for name in file.files if name.startswith("arr_")]
            return cls(file["images"], file["real"], file["latents"], weights)


def trainer(
    images: np.ndarray,
    batch_size: int,
    *,
    strategy: tf.distribute.Strategy,
    dropout: float = DROPOUT,
    precision: str = "float32",
    kernels: list[str] | None = None,
) -> GanTrainer:
    """The tutorial's GAN in this trainer."""
    config = GanConfig(
        generator=dcgan.generator,
        discriminator=functools.partial(dcgan.discriminator, dropout=dropout),
        latent_dim=LATENT_DIM,
        batch_size=batch_size,
        precision=precision,
        kernels=kernels,
    )
    return GanTrainer(config, strategy=strategy, images=images)


def problem(batch_size: int, make: Callable[..., GanTrainer], num_images: int) -> Problem:
    """The problem that begins with a trainer's first batch, latents and weights.

    Args:
      batch_size: B.
      make: (images, batch_size) -> GanTrainer.
      num_images: Number of images, at least batch_size.
    """
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (num_images, 28, 28, 1), dtype=np.uint8)
    gan = make(images, batch_size)
    latents = [
        rng.normal(
            rng.example_keys(gan.config.seed, f"latents/{phase}", 0, tf.range(batch_size)),
            [LATENT_DIM],
        )
        for phase in (1, 2)
    ]
    return Problem(
        images=images,
        real=normalise(images[gan.batch_sampler.indices(0, 1)[0]]).numpy(),
        latents=np.stack(latents),
        weights=[*gan.generator.get_weights(), *gan.discriminator.get_weights()],
    )
