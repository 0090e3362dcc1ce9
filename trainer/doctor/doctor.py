"""The GAN doctor: examines a run at fixed steps and names its failure early (ganhacks, hack 10)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from trainer.data.batches import normalise
from trainer.data.dataset import Dataset
from trainer.distributed import multihost
from trainer.doctor.rules import ALL, SIGNALS, Observation, Rule, Violation, measure
from trainer.doctor.state import DoctorState
from trainer.errors import TrainerError
from trainer.gan.step import METRICS
from trainer.gan.trainer import GanTrainer


@dataclasses.dataclass(frozen=True)
class Alert:
    """A rule that has complained for long enough."""

    step: int
    rule: Rule
    complaint: Violation

    def __str__(self) -> str:
        hacks = " or ".join(self.rule.remedies)
        return f"{self.rule.name}: at step {self.step} {self.complaint.measured}; try {hacks}"

    def entry(self) -> dict:
        """For the journal."""
        return {
            "step": self.step,
            "alert": self.rule.name,
            **self.complaint._asdict(),
            "try": list(self.rule.remedies),
        }


@dataclasses.dataclass(frozen=True)
class HealthReport:
    """What came of looking at a run once."""

    signs: dict[str, float]
    """SIGNALS, without those that are not known."""
    alerts: list[Alert]
    healthy: bool
    """Whether every rule was silent."""


class Doctor:
    """Looks at a run at each multiple of `every` steps, and raises the alerts of its rules.

    An examination is a program of all replicas: every process of a run takes part, and what the
    chief measured is what all of them judge. It draws no random number of training's.

    Args:
      trainer: Of the run.
      dataset: Its split "test" is read at the first examination; without one, nothing can be said
        of overfitting.
      images: uint8 [N, H, W, C], the training images.
      labels: int32 [N], if the models are conditional.
      every: Steps between examinations.
      patience: Examinations in a row of which a rule complains before it raises an alert. The
        next alert of that rule takes a silent examination in between.
      num_images: How many samples, training and held-out images to look at. A discriminator with
        `group_size` must divide it.
      rules: Constructors, as `trainer.doctor.rules` has them.

    Raises:
      TrainerError: if a setting is too small, or two rules have one name.
    """

    def __init__(
        self,
        *,
        trainer: GanTrainer,
        dataset: Dataset,
        images: np.ndarray,
        labels: np.ndarray | None,
        every: int = 500,
        patience: int = 3,
        num_images: int = 64,
        rules: Sequence[Callable[[], Rule]] = ALL,
    ) -> None:
        for name, value, least in (
            ("every", every, 1),
            ("patience", patience, 1),
            ("num_images", num_images, 2),
        ):
            if value < least:
                raise TrainerError(f"Doctor.{name}={value} must be at least {least}")
        self.every = every
        self._trainer = trainer
        self._dataset = dataset
        self._patience = patience
        self._count = num_images
        self._rules = [make() for make in rules]
        names = [rule.name for rule in self._rules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise TrainerError(f"Doctor.rules has two of {twice.pop()}; leave one out")
        self._training = self._some_of(images, labels)
        self._held_out: tuple[np.ndarray, np.ndarray | None] | None = None
        self._looked_for_held_out = False
        self._from_chief = multihost.from_chief(trainer.strategy)

    def examine(self, chart: DoctorState, step: int) -> HealthReport:
        """Examines the run at its current `step`, and keeps what must be known next time.

        Every process must call it.
        """
        signs = self._measure(chart)
        complaints = []
        alerts = []
        for rule in self._rules:
            record = chart.rules.setdefault(rule.name, {"count": 0, "memory": {}})
            complaint = rule.check(signs, record["memory"])
            record["count"] = record["count"] + 1 if complaint else 0
            complaints += [complaint] if complaint else []
            if complaint and record["count"] == self._patience:
                alerts.append(Alert(step, rule, complaint))
        chart.examinations += 1
        chart.journal += [alert.entry() for alert in alerts]
        if not complaints:
            chart.healthy = step
        known = {name: signs[name] for name in SIGNALS if np.isfinite(signs[name])}
        return HealthReport(known, alerts, healthy=not complaints)

    def _measure(self, chart: DoctorState) -> dict[str, float]:
        """The chief's signs, on every process: a program may round differently on each."""
        signs = self._trainer.last_metrics | measure(self._observe(chart))
        names = (*METRICS, *SIGNALS)
        numbers = np.array([signs[name] for name in names])
        numbers = np.frombuffer(self._from_chief(numbers.tobytes()))
        return dict(zip(names, numbers.tolist(), strict=True))

    def _observe(self, chart: DoctorState) -> Observation:
        trainer = self._trainer
        if not self._looked_for_held_out:
            self._held_out = self._load_held_out()
            self._looked_for_held_out = True
        samples = trainer.inference.sample(trainer.inference.latents(self._count))
        return Observation(
            samples=samples,
            real=self._training[0],
            logits_samples=trainer.inference.discriminate(samples),
            logits_train=trainer.inference.discriminate(*self._training),
            logits_held_out=trainer.inference.discriminate(*self._held_out)
            if self._held_out
            else None,
            class_counts=chart.class_counts,
        )

    def _load_held_out(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        try:
            images, labels = self._dataset.load("test")
        except (TrainerError, LookupError, ValueError) as error:
            logging.info("the doctor has no held-out images to look at (%s)", error)
            return None
        conditional = self._training[1] is not None
        return self._some_of(images, labels if conditional else None) if len(images) else None

    def _some_of(
        self, images: np.ndarray, labels: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As many as an examination looks at, from all over the split; a small one repeats."""
        chosen = np.arange(self._count) * len(images) // self._count
        return normalise(images[chosen]).numpy(), None if labels is None else labels[chosen]
