"""The GAN doctor: checks a run at fixed steps and names its failure early (ganhacks, hack 10)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from trainer.config.registry import configurable
from trainer.data.batches import normalise
from trainer.data.dataset import Dataset
from trainer.distributed import multihost
from trainer.doctor.rules import ALL, Rule, Violation
from trainer.doctor.signals import SIGNALS, Observation, measure
from trainer.doctor.state import DoctorState
from trainer.errors import TrainerError
from trainer.gan.replica_step import METRICS
from trainer.gan.trainer import GanTrainer


@dataclasses.dataclass(frozen=True)
class Alert:
    """A rule that was violated in `patience` consecutive checks, the last of them at `step`."""

    step: int
    rule: Rule
    violation: Violation

    def __str__(self) -> str:
        remedies = " or ".join(self.rule.remedies)
        return f"{self.rule.name}: at step {self.step} {self.violation.measured}; try {remedies}"

    def entry(self) -> dict[str, Any]:
        """Returns the alert as an entry of the event log."""
        return {
            "step": self.step,
            "alert": self.rule.name,
            **self.violation._asdict(),
            "try": list(self.rule.remedies),
        }


@dataclasses.dataclass(frozen=True)
class HealthReport:
    """The result of one check."""

    signals: dict[str, float]
    """SIGNALS by name, without those that could not be measured."""
    alerts: list[Alert]
    healthy: bool
    """Whether no rule was violated."""


@configurable
class Doctor:
    """Checks a run's health at each multiple of `every` steps, and raises the alerts of its rules.

    A check runs on all replicas, so every process takes part. All processes apply the rules to the
    signals that the chief measured. A check draws none of training's random numbers.

    Args:
      trainer: The trainer to check.
      dataset: Its split "test" is loaded at the first check. Without that split, overfitting is not
        measured.
      images: uint8 [N, H, W, C], the training images.
      labels: int32 [N] if the models are conditional, else None.
      every: Steps between checks, at least 1.
      patience: Consecutive violations before an alert, at least 1; one passing check rearms the
        rule.
      num_images: Number of samples, of training images and of held-out images in a check, at least
        2. It must be a multiple of the discriminator's `group_size`, if that is set.
      rules: Constructors of the rules to apply, such as those in `trainer.doctor.rules`.

    Raises:
      TrainerError: if a number is too small, or two rules have the same name.
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
        self._num_images = num_images
        self._rules = [make() for make in rules]
        names = [rule.name for rule in self._rules]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise TrainerError(f"Doctor.rules lists {repeated.pop()} twice; leave one out")
        self._training = self._subset(images, labels)
        self._from_chief = multihost.from_chief(trainer.strategy)

    def check(self, state: DoctorState, step: int) -> HealthReport:
        """Checks the run, which is at `step`, and updates `state`; every process must call it."""
        signals = self._measure(state)
        alerts = []
        healthy = True
        for rule in self._rules:
            kept = state.rules.setdefault(rule.name, {"violations": 0, "memory": {}})
            violation = rule.check(signals, kept["memory"])
            if violation is None:
                kept["violations"] = 0
                continue
            healthy = False
            kept["violations"] += 1
            if kept["violations"] == self._patience:
                alerts.append(Alert(step, rule, violation))
        state.num_checks += 1
        if healthy:
            state.healthy_step = step
        known = {name: signals[name] for name in SIGNALS if np.isfinite(signals[name])}
        return HealthReport(known, alerts, healthy)

    def _measure(self, state: DoctorState) -> dict[str, float]:
        """Returns the chief's signals on every process, since devices may round differently."""
        signals = self._trainer.last_metrics | measure(self._observe(state))
        names = (*METRICS, *SIGNALS)
        values = np.array([signals[name] for name in names])
        values = np.frombuffer(self._from_chief(values.tobytes()))
        return dict(zip(names, values.tolist(), strict=True))

    def _observe(self, state: DoctorState) -> Observation:
        inference = self._trainer.inference
        samples = inference.sample(inference.latents(self._num_images))
        held_out = self._held_out
        return Observation(
            samples=samples,
            real=self._training[0],
            logits_samples=inference.discriminate(samples),
            logits_train=inference.discriminate(*self._training),
            logits_held_out=inference.discriminate(*held_out) if held_out else None,
            class_counts=state.class_counts,
        )

    @functools.cached_property
    def _held_out(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Images and labels of the split "test"; None if there are none."""
        try:
            images, labels = self._dataset.load("test")
        except (TrainerError, LookupError, ValueError) as error:
            logging.info("the doctor cannot measure overfitting without a test split (%s)", error)
            return None
        conditional = self._training[1] is not None
        return self._subset(images, labels if conditional else None) if len(images) else None

    def _subset(
        self, images: np.ndarray, labels: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns `num_images` of a split, evenly spaced; a smaller split repeats its images."""
        chosen = np.arange(self._num_images) * len(images) // self._num_images
        return normalise(images[chosen]).numpy(), None if labels is None else labels[chosen]
