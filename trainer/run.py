"""A run: its parts, built and wired, and its schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trainer import identity, peers, strategy
from trainer.chart import Chart
from trainer.checkpoints import Checkpoints
from trainer.data.dataset import DatasetSpec
from trainer.doctor import Doctor
from trainer.errors import TrainerError
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
    doctor: Doctor | None = None
    rollbacks: int = 0
    """How many times training may go back to health."""
    chart: Chart = field(default_factory=Chart)

    @property
    def chief(self) -> bool:
        return peers.is_chief(self.trainer.strategy)

    @property
    def step(self) -> int:
        """Steps done so far."""
        return int(self.trainer.step.numpy())

    def checkpoints(self, **more: object) -> Checkpoints:
        """Of the trainer's state, and of `more` that training goes on from."""
        strategy.check_model_dir(self.trainer.strategy.cluster_resolver, self.model_dir)
        items = self.trainer.checkpoint_items | more
        return Checkpoints(items, self.model_dir, keep=self.keep_checkpoints, chief=self.chief)

    def restore(self) -> None:
        """Restores the newest checkpoint, to look at.

        Raises:
          TrainerError: if there is none.
        """
        if not self.checkpoints().restore():
            raise TrainerError(
                f"--model_dir={self.model_dir} holds no checkpoint; train first, or name "
                "another run"
            )

    def healthy(self) -> Checkpoints:
        """The state to which a rollback goes back."""
        items = self.trainer.checkpoint_items | {"doctor": self.chart}
        return Checkpoints(items, self.model_dir, keep=1, chief=self.chief, name="healthy")

    def identity(self) -> identity.Identity:
        return identity.describe(
            self.spec,
            self.trainer.order.num_examples,
            self.trainer.latent_dim,
            self.trainer.sampler is not self.trainer.generator,
            self.trainer.generator,
            self.trainer.discriminator,
        )
