"""How fast a run trains, and where its time goes."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Throughput:
    """Images per second in the last call of `train`, and an estimate of the time left.

    The first call, which traces, is not measured; nor is the first after a rollback, which traces
    again.

    Args:
      batch_size: Images in a step.
      last_step: Number of steps after which training ends.
      clock: Returns seconds.
    """

    def __init__(
        self, batch_size: int, last_step: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.images_per_second: float | None = None
        """None until two calls were seen."""
        self.seconds_left: float | None = None
        """None until two calls were seen."""
        self._batch_size = batch_size
        self._last_step = last_step
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._previous: tuple[int, float] | None = None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the time after a call of `train` that ended at `step`."""
        now = (step, self._clock())
        if self._first is None or self._previous is None or step <= self._previous[0]:
            self._first = now
            self.images_per_second = self.seconds_left = None
        else:
            self.images_per_second = self._batch_size * _steps_per_second(self._previous, now)
            self.seconds_left = (self._last_step - step) / _steps_per_second(self._first, now)
        self._previous = now


def _steps_per_second(before: tuple[int, float], after: tuple[int, float]) -> float:
    return (after[0] - before[0]) / max(after[1] - before[1], 1e-9)


class Stopwatch:
    """The share of a run's time that is spent in each of the functions it wraps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds: dict[str, float] = collections.defaultdict(float)
        self._clock = clock
        self._start = clock()

    def timed(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """Returns `function`, with the time of its calls counted under `name`."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            start = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                self._seconds[name] += self._clock() - start

        return call

    def __str__(self) -> str:
        """Percentages of the time since the stopwatch was made, largest first."""
        total = max(self._clock() - self._start, 1e-9)
        parts = sorted(self._seconds.items(), key=lambda part: -part[1])
        parts.append(("the rest", total - sum(self._seconds.values())))
        return ", ".join(f"{name} {100 * seconds / total:.1f} %" for name, seconds in parts)
