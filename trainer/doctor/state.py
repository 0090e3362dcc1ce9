"""What a run's checkpoints hold for the doctor: its state, and the log of its events."""

from __future__ import annotations

import json
from typing import Any, TypedDict

import tensorflow as tf

from trainer import files

EVENTS_FILE_NAME = "doctor_events.jsonl"


class RuleState(TypedDict):
    """State of one rule between checks."""

    violations: int
    """Consecutive checks that violated the rule."""
    memory: dict[str, float]
    """The rule's own `trainer.doctor.rules.Memory`."""


class DoctorState(tf.train.experimental.PythonState):
    """What a check needs from earlier checks; a rollback restores it with the weights.

    It is saved as JSON, which keeps every bit of a float. A run may be resumed with other rules.
    """

    def __init__(self) -> None:
        super().__init__()
        self.healthy_step = 0
        """Step of the last check that violated no rule, or of the start of training."""
        self.num_checks = 0
        self.class_counts: tuple[list[int], list[int]] | None = None
        """Samples and real images of each class in the last scheduled evaluation."""
        self.rules: dict[str, RuleState] = {}
        """By the rule's name."""

    def serialize(self) -> str:
        names = ("healthy_step", "num_checks", "class_counts", "rules")
        return json.dumps({name: getattr(self, name) for name in names})

    def deserialize(self, string_value: str | bytes) -> None:
        for name, value in json.loads(string_value).items():
            setattr(self, name, value)


class EventLog(tf.train.experimental.PythonState):
    """A run's alerts and rollbacks in order, including those of steps that a rollback abandoned.

    The run's checkpoints hold it, but the healthy state that a rollback restores does not: so a
    rollback erases no event.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[dict[str, Any]] = []
        """JSON objects with a "step", and an "alert" (the rule's name) or a "rollback"."""

    def serialize(self) -> str:
        return json.dumps(self.entries)

    def deserialize(self, string_value: str | bytes) -> None:
        self.entries = json.loads(string_value)

    @property
    def num_rollbacks(self) -> int:
        """Number of rollbacks so far."""
        return sum("rollback" in entry for entry in self.entries)

    def write(self, model_dir: str) -> None:
        """Writes `model_dir/doctor_events.jsonl`, one entry a line."""
        lines = [f"{json.dumps(entry)}\n" for entry in self.entries]
        files.write_file(f"{model_dir}/{EVENTS_FILE_NAME}", "".join(lines))

    def summary(self, num_checks: int) -> str:
        """One line that lists the alerts of `num_checks` checks, and the rollbacks."""
        alerts = [f"{e['alert']} at step {e['step']}" for e in self.entries if "alert" in e]
        if alerts:
            rollbacks = f"; {_count(self.num_rollbacks, 'rollback')}" if self.num_rollbacks else ""
            return f"{', '.join(alerts)}{rollbacks}"
        return f"no alerts in {_count(num_checks, 'check')}" if num_checks else "no check was due"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
