"""What happens between calls of train: progress, scalars, samples, a profile; and stopping."""

from __future__ import annotations

import collections
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import ParamSpec, TypeVar

import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from trainer.data.batches import denormalise
from trainer.reporting import tensorboard
from trainer.reporting.images import image_grid, write_png

Metrics = Mapping[str, float]
P = ParamSpec("P")
T = TypeVar("T")


class Pace:
    """Images per second over the last call, and time to go; leaves out the first, which traces.

    A run that goes back to an earlier step begins anew, and traces anew.
    """

    def __init__(
        self, batch_size: int, last_step: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.images_per_second: float | None = None
        self.seconds_to_go: float | None = None
        self._batch_size = batch_size
        self._last_step = last_step
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._previous: tuple[int, float] | None = None

    def __call__(self, step: int, metrics: Metrics) -> None:
        now = (step, self._clock())
        if self._first is None or self._previous is None or step <= self._previous[0]:
            self._first = now
            self.images_per_second = self.seconds_to_go = None
        else:
            self.images_per_second = self._batch_size * _rate(self._previous, now)
            self.seconds_to_go = (self._last_step - step) / _rate(self._first, now)
        self._previous = now


def _rate(before: tuple[int, float], after: tuple[int, float]) -> float:
    return (after[0] - before[0]) / max(after[1] - before[1], 1e-9)


class Stopwatch:
    """Where a run's time goes: the share of each function that it was told to time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._clock = clock
        self._start = clock()

    def timed(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """`function`, whose time is added to that of `name`."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            start = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += self._clock() - start

        return call

    def __str__(self) -> str:
        total = max(self._clock() - self._start, 1e-9)
        parts = sorted(self.seconds.items(), key=lambda part: -part[1])
        parts.append(("the rest", total - sum(self.seconds.values())))
        return ", ".join(f"{name} {100 * seconds / total:.1f} %" for name, seconds in parts)


class Progress:
    """A progress bar on a terminal; elsewhere a log line at most every `seconds`, and the last."""

    def __init__(
        self,
        pace: Pace,
        step: int,
        last_step: int,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pace = pace
        self._last_step = last_step
        self._seconds = seconds
        self._clock = clock
        self._next_line = clock()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(initial=step, total=last_step, unit="step", dynamic_ncols=True)

    def __call__(self, step: int, metrics: Metrics) -> None:
        losses = {
            "loss_d": f"{metrics['loss/discriminator']:.3f}",
            "loss_g": f"{metrics['loss/generator']:.3f}",
        }
        if speed := self._pace.images_per_second:
            losses["images/s"] = f"{speed:.0f}"
        if self._bar is not None:
            self._bar.set_postfix(losses, refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._clock() >= self._next_line or step >= self._last_step:
            self._next_line = self._clock() + self._seconds
            shown = ", ".join(f"{name} {value}" for name, value in losses.items())
            togo = self._pace.seconds_to_go
            eta = f", ETA {tqdm.tqdm.format_interval(togo)}" if togo else ""
            logging.info("step %d/%d: %s%s", step, self._last_step, shown, eta)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Scalars:
    """Writes the metrics, and the pace, to TensorBoard."""

    def __init__(self, writer: tensorboard.EventWriter, pace: Pace) -> None:
        self._writer = writer
        self._pace = pace

    def __call__(self, step: int, metrics: Metrics) -> None:
        values = dict(metrics)
        if self._pace.images_per_second is not None:
            values["speed/images_per_second"] = self._pace.images_per_second
        self._writer.scalars(step, values)


class Samples:
    """Writes a grid of samples from fixed latents to TensorBoard and to a PNG file."""

    def __init__(
        self,
        writer: tensorboard.EventWriter,
        directory: str,
        sample: Callable[[], np.ndarray],
    ) -> None:
        self._writer = writer
        self._directory = directory
        self._sample = sample

    def __call__(self, step: int, metrics: Metrics) -> None:
        grid = image_grid(denormalise(self._sample()))
        self._writer.image(step, "samples", grid)
        write_png(f"{self._directory}/step_{step:07d}.png", grid)


class Profile:
    """Traces some steps for TensorBoard's Profile tab.

    They follow a call of a single step, which traces the functions and compiles.

    Args:
      model_dir: Where the trace will be, as TensorBoard wants it: in plugins/profile/TIME.
      step: Steps done so far.
      steps: How many to trace; a run that ends sooner ends its trace.
    """

    def __init__(self, model_dir: str, step: int, steps: int) -> None:
        self.due = (step + 1, step + 1 + steps)
        """The steps at which it must be called."""
        self._model_dir = model_dir
        self._tracing = False

    def __call__(self, step: int, metrics: Metrics) -> None:
        if self._tracing:
            self.close()
        elif step == self.due[0]:
            tf.profiler.experimental.start(self._model_dir)
            self._tracing = True

    def close(self) -> None:
        """Writes what was traced, if anything was."""
        if self._tracing:
            self._tracing = False
            tf.profiler.experimental.stop()
            logging.info(
                "profile: %s/plugins/profile; to look at it, pip install xprof, then the Profile "
                "tab of tensorboard --logdir=%s",
                *(self._model_dir, self._model_dir),
            )


class StopRequest:
    """Ctrl-C or SIGTERM: asks the loop to save and stop; Ctrl-C again stops at once.

    Python sees a signal only between calls on the devices, where two of one call count as one.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes both signals over for its duration; main thread only."""
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        logging.info("%s: saving after the current call, then stopping", self.signal.name)
