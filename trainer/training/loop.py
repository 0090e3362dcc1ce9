"""The outer loop: calls train(n) and, between calls, whatever is due. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Every:
    """Calls `action(step, metrics)` at each multiple of `period` steps, and at the end.

    A period of 0 leaves only the end; None means after every call of train. Single steps may be
    added by `at`.
    """

    action: Callable[[int, Metrics], object]
    period: int | None = None
    at: Sequence[int] = ()

    def steps_until_due(self, step: int) -> int | None:
        ahead = [due - step for due in self.at if due > step]
        if self.period:
            ahead.append(self.period - step % self.period)
        return min(ahead, default=None)

    def is_due(self, step: int) -> bool:
        if self.period is None or step in self.at:
            return True
        return self.period > 0 and step % self.period == 0


def run(
    train: Callable[[int], Metrics],
    *,
    step: int,
    last_step: int,
    steps_per_loop: int,
    actions: Sequence[Every],
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Trains from `step` to `last_step`, or until `should_stop()`; returns the step reached.

    Args:
      train: Runs n steps and returns their metrics; n <= steps_per_loop, and calls are cut short
        where an action is due.
      step: Steps done already.
      last_step: Where to end.
      steps_per_loop: Most steps in one call of `train`.
      actions: In the order in which they run between calls.
      should_stop: Asked after each call of `train`.
    """
    stopping = should_stop()
    while step < last_step and not stopping:
        limits = [steps_per_loop, last_step - step]
        limits += [n for a in actions if (n := a.steps_until_due(step)) is not None]
        metrics = train(min(limits))
        step += min(limits)
        stopping = should_stop()
        for every in actions:
            if every.is_due(step) or stopping or step >= last_step:
                every.action(step, metrics)
    return step
