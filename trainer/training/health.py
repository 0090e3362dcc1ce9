"""Health checks of a run while it trains: alerts are reported, and answered with rollbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import logging

from trainer.doctor.state import EVENTS_FILE_NAME
from trainer.errors import DivergenceError
from trainer.reporting import tensorboard
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.run import Run
from trainer.training.rollback import Rollback


class HealthChecks:
    """Lets the doctor check a run, and rolls it back after an alert or after divergence.

    Alerts and rollbacks are recorded in the run's event log and its file, and shown in the log and
    in TensorBoard.

    Args:
      run: The run, with its newest checkpoint restored.
      checkpoints: The checkpoints of the run.
      writer: The chief's, for TensorBoard; None on other processes.
    """

    def __init__(
        self, run: Run, checkpoints: Checkpoints, writer: tensorboard.EventWriter | None
    ) -> None:
        self._run = run
        self._writer = writer
        self._rollback = Rollback(run, checkpoints)
        if run.doctor_events.entries:
            self._write_events()  # a checkpoint lacks events that came after it

    def check(self, step: int, metrics: Mapping[str, float]) -> int | None:
        """Checks the run and reports alerts; every process must call it.

        Returns:
          The step that training continues from after a rollback; None without a rollback.
        """
        if self._run.doctor is None:
            return None
        report = self._run.doctor.check(self._run.doctor_state, step)
        if self._writer:
            signals = {f"doctor/{name}": value for name, value in report.signals.items()}
            self._writer.scalars(step, signals)
        for alert in report.alerts:
            self._record(alert.entry(), str(alert))
            if self._writer:
                logging.warning("doctor: %s", alert)
        if report.alerts and self._rollback.is_left:
            return self._go_back(step, ", ".join(alert.rule.name for alert in report.alerts))
        if report.healthy:
            self._rollback.save_healthy()
        return None

    def recover(self, error: DivergenceError) -> None:
        """Rolls the run back after a loss or gradient that is not finite.

        Raises:
          DivergenceError: `error`, if no rollback is left.
        """
        entry = {"step": error.step, "alert": "not_finite", "measured": error.measured}
        self._record(entry, str(error))
        if not self._rollback.is_left:
            raise error
        self._go_back(error.step, str(error))

    def report(self) -> None:
        """Prints one line that sums up the health of the whole run."""
        if self._writer and self._run.doctor:
            events = self._run.doctor_events
            where = f". Events: {self._run.model_dir}/{EVENTS_FILE_NAME}" if events.entries else ""
            print(f"Doctor: {events.summary(self._run.doctor_state.num_checks)}{where}")

    def _record(self, alert: dict[str, Any], text: str) -> None:
        self._run.doctor_events.entries.append(alert)
        self._write_events()
        if self._writer:
            self._writer.text(alert["step"], f"doctor/{alert['alert']}/alert", text)

    def _go_back(self, step: int, reason: str) -> int:
        healthy_step = self._rollback.go_back(step, reason)
        self._write_events()
        if self._writer:
            number = self._run.doctor_events.num_rollbacks
            text = (
                f"{reason}; back from step {step} to step {healthy_step}, on random stream "
                f"{number}: rollback {number} of {self._run.schedule.rollbacks}"
            )
            logging.warning("doctor: %s", text)
            self._writer.text(step, "doctor/rollback", text)
        return healthy_step

    def _write_events(self) -> None:
        if self._writer:
            self._run.doctor_events.write(self._run.model_dir)
