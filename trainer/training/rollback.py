"""Rollbacks: a run returns to its last healthy state and trains on with other random numbers."""

from __future__ import annotations

from trainer.distributed import multihost
from trainer.errors import TrainerError
from trainer.runs.checkpoints import Checkpoints
from trainer.runs.run import Run


class Rollback:
    """Returns a run to its last healthy state, at most `run.schedule.rollbacks` times.

    The healthy state is that of the last check that violated no rule, or of the start of training;
    it is kept in `model_dir/healthy`. It is only saved at steps that the config determines, never
    where a signal stopped the run, which keeps a run with rollbacks reproducible.

    After n rollbacks the run draws from random stream n, so the event log determines the stream.

    Args:
      run: The run, with its newest checkpoint restored.
      checkpoints: The checkpoints of the run.
    """

    def __init__(self, run: Run, checkpoints: Checkpoints) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._healthy = run.healthy_checkpoint() if run.schedule.rollbacks else None
        run.trainer.reseed(run.doctor_events.num_rollbacks)
        if self._healthy:
            # All processes agree first: otherwise one could find what another has just saved.
            missing = self._healthy.latest is None
            if multihost.any_process(run.trainer.strategy)(missing):
                run.doctor_state.healthy_step = run.step
                self._healthy.save()

    @property
    def is_left(self) -> bool:
        """Whether the run may be rolled back once more."""
        return self._run.doctor_events.num_rollbacks < self._run.schedule.rollbacks

    def save_healthy(self) -> None:
        """Saves the current state as healthy, if the run allows rollbacks."""
        if self._healthy:
            self._healthy.save()

    def go_back(self, step: int, reason: str) -> int:
        """Restores the healthy state, changes the stream, and saves that as the newest checkpoint.

        Checkpoints of later steps are removed first. A process that is killed before the new one is
        complete will decide the same again; one that is killed later resumes on the new stream.

        Args:
          step: The step that the run returns from.
          reason: Why, for the event log.

        Returns:
          The step that training continues from.

        Raises:
          TrainerError: if the healthy state was removed.
        """
        run, healthy = self._run, self._healthy
        healthy_step = run.doctor_state.healthy_step
        assert healthy
        if not healthy.restore(at_most=healthy_step):
            raise TrainerError(
                f"{reason}; {healthy.directory} holds no state of step {healthy_step} or before to "
                "go back to: set train.rollbacks=0 to train on without rollbacks"
            )
        stream = run.doctor_events.num_rollbacks + 1
        rollback = {"to": run.step, "stream": stream, "because": reason}
        run.doctor_events.entries.append({"step": step, "rollback": rollback})
        run.trainer.reseed(stream)
        if run.is_chief:
            self._checkpoints.remove_after(run.step)
        self._checkpoints.save(again=True)
        return run.step
