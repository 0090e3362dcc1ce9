"""A run: its parts, built and wired, and its schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer import identity, strategy
from trainer.checkpoints import Checkpoints
from trainer.data.dataset import DatasetSpec
from trainer.evaluation import Evaluator
from trainer.gan import GanTrainer


@dataclass(frozen=True)
class Run:
    """The parts of one run, built and wired, and its schedule in steps."""

    trainer: GanTrainer
    spec: DatasetSpec
    real_images: np.ndarray
    """uint8 [up to num_samples, H, W, C], to look at."""
    model_dir: str
    num_steps: int
    steps_per_loop: int
    checkpoint_every: int
    sample_every: int
    num_samples: int
    keep_checkpoints: int
    evaluator: Evaluator
    evaluate_every: int

    @property
    def chief(self) -> bool:
        return strategy.is_chief(self.trainer.strategy)

    @property
    def step(self) -> int:
        """Steps done so far."""
        return int(self.trainer.step.numpy())

    def checkpoints(self) -> Checkpoints:
        strategy.check_model_dir(self.trainer.strategy.cluster_resolver, self.model_dir)
        return Checkpoints(
            self.trainer.checkpoint_items,
            self.model_dir,
            keep=self.keep_checkpoints,
            chief=self.chief,
        )

    def identity(self) -> identity.Identity:
        return identity.describe(
            self.spec,
            self.trainer.order.num_examples,
            self.trainer.latent_dim,
            self.trainer.sampler is not self.trainer.generator,
            self.trainer.generator,
            self.trainer.discriminator,
        )
