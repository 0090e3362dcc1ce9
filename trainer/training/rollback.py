"""A run under the doctor's care: examinations between calls, reports, and rollbacks."""

from __future__ import annotations

from collections.abc import Mapping

from absl import logging

from trainer import files
from trainer.distributed import multihost
from trainer.doctor.doctor import Alert
from trainer.doctor.state import FILE_NAME
from trainer.errors import DivergenceError, TrainerError
from trainer.reporting import tensorboard
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.run import Run


class Relapse(Exception):  # noqa: N818  nothing is wrong with the program
    """Leaves the loop for a rollback, which `Care.roll_back` makes."""

    def __init__(self, step: int, alerts: list[Alert]) -> None:
        super().__init__(", ".join(alert.rule.name for alert in alerts))
        self.step = step


class Care:
    """Examines a run when it is due, and rolls it back to health while it has rollbacks left.

    The state at the last healthy examination, or else at the start, is in `model_dir/healthy`. It
    is saved at steps that the config fixes, which signals and kills do not move: that keeps a run
    with rollbacks reproducible.

    Args:
      run: Restored.
      checkpoints: Of the run.
      writer: The chief's, for TensorBoard; None on other processes.
    """

    def __init__(
        self, run: Run, checkpoints: Checkpoints, writer: tensorboard.EventWriter | None
    ) -> None:
        self._run = run
        self._chart = run.doctor_state
        self._checkpoints = checkpoints
        self._writer = writer
        self._healthy = run.healthy_checkpoint() if run.schedule.rollbacks else None
        run.trainer.reseed(run.doctor_state.stream)
        if self._healthy:
            # They agree before any of them saves: what one has written the next would find.
            missing = multihost.any_process(run.trainer.strategy)(self._healthy.latest is None)
            if missing:
                self._chart.healthy = run.step
                self._healthy.save()
        if self._chart.journal:
            self._write_journal()

    def examine(self, step: int, metrics: Mapping[str, float]) -> None:
        """An action of the loop; all but multiples of the doctor's period pass.

        Raises:
          Relapse: if there is an alert and a rollback left.
        """
        doctor = self._run.doctor
        if doctor is None or step % doctor.every:
            return
        examination = doctor.examine(self._chart, step)
        if self._writer:
            signs = examination.signs.items()
            self._writer.scalars(step, {f"doctor/{name}": value for name, value in signs})
            for alert in examination.alerts:
                logging.warning("doctor: %s", alert)
                self._writer.text(step, f"doctor/{alert.rule.name}/alert", str(alert))
        if examination.alerts:
            self._write_journal()
            if self._can_roll_back():
                raise Relapse(step, examination.alerts)
        if self._healthy and examination.healthy:
            self._healthy.save()

    def roll_back(self, failure: Relapse | DivergenceError) -> None:
        """Goes back to the last healthy state, on a noise stream that was not used before.

        The checkpoints of later steps are removed first. A process that is killed before the state
        is saved again comes to the same decision again; one that is killed later resumes on the new
        stream.

        Raises:
          DivergenceError: `failure`, where no rollback is left.
          TrainerError: if someone removed the healthy state.
        """
        chart = self._chart
        if isinstance(failure, DivergenceError):
            entry = {"step": failure.step, "alert": "not_finite", "measured": failure.measured}
            chart.journal.append(entry)
            self._write_journal()
            if self._writer:
                self._writer.text(failure.step, "doctor/not_finite/alert", str(failure))
            if not self._can_roll_back():
                raise failure
        assert self._healthy
        journal, stream = chart.journal, chart.stream + 1
        if not self._healthy.restore(at_most=chart.healthy):
            raise TrainerError(
                f"{failure}; {self._healthy.directory} holds no state of step {chart.healthy} or "
                "before to go back to: set train.rollbacks=0 to go on without"
            )
        step = self._run.step
        back = {"to": step, "stream": stream, "because": str(failure)}
        chart.stream = stream
        chart.journal = [*journal, {"step": failure.step, "rollback": back}]
        self._run.trainer.reseed(stream)
        if self._writer:
            self._checkpoints.remove_after(step)
        self._checkpoints.save(again=True)
        self._write_journal()
        if self._writer:
            told = (
                f"{failure}; back from step {failure.step} to step {step}, on noise stream "
                f"{stream}: rollback {chart.rollbacks} of {self._run.schedule.rollbacks}"
            )
            logging.warning("doctor: %s", told)
            self._writer.text(failure.step, "doctor/rollback", told)

    def report(self) -> None:
        """The end of training: one line on what was found."""
        if self._writer and self._run.doctor:
            found = self._chart.journal
            where = f". Journal: {self._run.model_dir}/{FILE_NAME}" if found else ""
            print(f"Doctor: {self._chart.summary()}{where}")

    def _can_roll_back(self) -> bool:
        return self._healthy is not None and self._chart.rollbacks < self._run.schedule.rollbacks

    def _write_journal(self) -> None:
        if self._writer:
            files.write_file(f"{self._run.model_dir}/{FILE_NAME}", self._chart.journal_lines())
