"""A run: its parts, its schedule and its directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from trainer.config.settings import Plain, Settings, integer
from trainer.data.dataset import DatasetSpec
from trainer.distributed import multihost, strategy
from trainer.doctor.doctor import Doctor
from trainer.doctor.state import DoctorState, EventLog
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import Evaluator
from trainer.gan.trainer import GanTrainer
from trainer.runs import compatibility
from trainer.runs.checkpoints import Checkpoints


@dataclass(frozen=True, kw_only=True)
class Schedule(Settings):
    """How long a run trains, and how often it saves, samples and evaluates."""

    num_epochs: int = integer(30, at_least=1)
    """Passes over the dataset, in whole batches."""
    num_steps: int | None = integer(None, at_least=1)
    """Steps to train; takes precedence over num_epochs."""
    steps_per_loop: int = integer(50, at_least=1)
    """Largest number of steps in one call on the devices; progress is reported after each call."""
    checkpoint_every: int = integer(1000, at_least=0)
    """Steps between checkpoints; 0 to save only at the end."""
    keep_checkpoints: int = integer(3, at_least=1)
    """Number of checkpoints to keep."""
    sample_every: int = integer(500, at_least=0)
    """Steps between sample grids; 0 to write one only at the end."""
    num_samples: int = integer(64, at_least=1)
    """Images in a sample grid."""
    evaluate_every: int = integer(0, at_least=0)
    """Steps between evaluations during training; 0 to never evaluate."""
    rollbacks: int = integer(0, at_least=0)
    """Largest number of returns to the doctor's last healthy check, to train on with other random
    numbers after an alert, or after a loss or gradient that is not finite."""


@dataclass(frozen=True, repr=False)
class Run:
    """The parts of one run, as `trainer.experiment.Experiment.build` wires them."""

    trainer: GanTrainer
    schedule: Schedule
    spec: DatasetSpec
    real_images: np.ndarray
    """uint8 [up to num_samples, H, W, C], for the grid of real images."""
    evaluator: Evaluator
    doctor: Doctor | None
    model_dir: str
    config_text: str
    """The config as gin text, which training saves in model_dir."""
    settings: Mapping[str, Plain]
    """All settings by name, as `trainer.config.settings.flatten` returns them."""
    doctor_state: DoctorState = field(default_factory=DoctorState)
    """What the doctor knows from earlier checks."""
    doctor_events: EventLog = field(default_factory=EventLog)
    """Alerts and rollbacks so far."""

    def __repr__(self) -> str:
        return f"<Run {self.model_dir}: {self.spec.name}, step {self.step} of {self.num_steps}>"

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes to model_dir."""
        return multihost.is_chief(self.trainer.strategy)

    @property
    def step(self) -> int:
        """Number of steps already done."""
        return int(self.trainer.step.numpy())

    @property
    def num_steps(self) -> int:
        """Number of steps after which training ends."""
        steps_per_epoch = self.trainer.batch_sampler.steps_per_epoch
        return self.schedule.num_steps or self.schedule.num_epochs * steps_per_epoch

    def checkpoints(self, **more: object) -> Checkpoints:
        """Makes the checkpoints of the run: the trainer's state and, by name, what `more` holds."""
        strategy.check_model_dir(self.trainer.strategy.cluster_resolver, self.model_dir)
        items = self.trainer.checkpoint_items | more
        keep = self.schedule.keep_checkpoints
        return Checkpoints(items, self.model_dir, keep=keep, chief=self.is_chief)

    def restore(self) -> None:
        """Restores the newest checkpoint, for inference.

        Raises:
          TrainerError: if there is none, none that can be read, or if the generator's weights in it
            are not finite.
        """
        checkpoints = self.checkpoints()
        if not checkpoints.restore():
            raise TrainerError(
                f"{self.model_dir} holds no checkpoint; train first, or name another run"
            )
        if not (name := self._not_finite()):
            return
        path, last_good = checkpoints.latest, "nor are those before"
        while checkpoints.restore(at_most=self.step - 1):
            if not self._not_finite():
                last_good = (
                    f"the last good one is step-{self.step}: remove the later ones to use it"
                )
                break
        raise TrainerError(f"{path} holds a {name} that is not finite; {last_good}")

    def _not_finite(self) -> str | None:
        """The first of the generator's variables, as samples use them, that is not finite."""
        variables = self.trainer.networks.generator_ema.variables
        return next((v.path for v in variables if not np.isfinite(v.numpy()).all()), None)

    def healthy_checkpoint(self) -> Checkpoints:
        """Makes the checkpoint that a rollback restores; without the event log, which it keeps."""
        items = self.trainer.checkpoint_items | {"doctor": self.doctor_state}
        return Checkpoints(items, self.model_dir, keep=1, chief=self.is_chief, name="healthy")

    def facts(self) -> compatibility.Facts:
        """Describes what must not change when the run is resumed."""
        config = self.trainer.config
        return compatibility.describe(
            self.spec,
            self.trainer.batch_sampler.num_examples,
            config.latent_dim,
            config.ema_half_life > 0,
            self.trainer.generator,
            self.trainer.discriminator,
        )
