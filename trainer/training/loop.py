"""The outer loop: calls train(n), then the callbacks that are due. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class PeriodicCallback:
    """A function, and the steps at which it is called.

    Args:
      function: Called with the number of steps done and the metrics of the last call of `train`.
        Returns None, or an earlier step from which training continues.
      every_call: Call it after every call of `train`.
      every_steps: Call it at each multiple of this number, which is at least 1.
      on_steps: Call it at these steps.
      at_end: Also call it once training ends or is stopped, whatever the step.
    """

    function: Callable[[int, Metrics], int | None]
    _: KW_ONLY
    every_call: bool = False
    every_steps: int | None = None
    on_steps: Sequence[int] = ()
    at_end: bool = True

    def steps_until_due(self, step: int) -> int | None:
        """Steps from `step` until a call of `train` must end; None if no step is due."""
        ahead = [due - step for due in self.on_steps if due > step]
        if self.every_steps:
            ahead.append(self.every_steps - step % self.every_steps)
        return min(ahead, default=None)

    def is_due(self, step: int, *, ending: bool) -> bool:
        """Whether to call the function after `step` steps, where training ends if `ending`."""
        at_multiple = self.every_steps is not None and step % self.every_steps == 0
        return self.every_call or at_multiple or step in self.on_steps or (ending and self.at_end)


def run(
    train: Callable[[int], Metrics],
    *,
    step: int,
    last_step: int,
    steps_per_loop: int,
    callbacks: Sequence[PeriodicCallback],
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Trains from `step` to `last_step`, or until `should_stop()`; returns the step reached.

    Args:
      train: Trains the given number of steps, at most `steps_per_loop`, and returns their metrics.
        A call ends where a callback is due.
      step: Number of steps already done.
      last_step: Number of steps after which training ends.
      steps_per_loop: Largest number of steps in one call of `train`.
      callbacks: Called in this order. Once one returns a step to continue from, those after it are
        not called.
      should_stop: Asked before the first call of `train` and after each one.
    """
    stopping = should_stop()
    while step < last_step and not stopping:
        limits = [steps_per_loop, last_step - step]
        limits += [n for c in callbacks if (n := c.steps_until_due(step)) is not None]
        metrics = train(min(limits))
        step += min(limits)
        stopping = should_stop()
        ending = stopping or step >= last_step
        for callback in callbacks:
            if callback.is_due(step, ending=ending):
                continue_from = callback.function(step, metrics)
                if continue_from is not None:
                    step = continue_from
                    break
    return step
