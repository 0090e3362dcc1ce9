"""What happens between calls of train: evaluation, curves, samples, progress, a profile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from trainer.data.batches import denormalise
from trainer.evaluation.card import Card
from trainer.reporting import tensorboard
from trainer.reporting.images import image_grid, write_png
from trainer.runs.evaluate import compute_evaluation, write_evaluation
from trainer.runs.run import Run
from trainer.training.timing import Throughput

Metrics = Mapping[str, float]


class Evaluation:
    """Evaluates a run; every process must call it.

    Args:
      run: The run.
      writer: Writes the results to model_dir; None on all processes but the chief.
    """

    def __init__(self, run: Run, writer: tensorboard.EventWriter | None) -> None:
        self._run = run
        self._writer = writer

    def on_schedule(self, step: int, metrics: Metrics) -> None:
        """Evaluates, and hands the doctor the counts of classes."""
        card = self.evaluate()
        self._run.doctor_state.class_counts = (card.class_counts, card.class_counts_real)

    def at_end(self, step: int, metrics: Metrics) -> None:
        """Evaluates where training ends off schedule; the doctor's state depends on none of it."""
        if step % self._run.schedule.evaluate_every:
            self.evaluate()

    def evaluate(self) -> Card:
        """Evaluates the current weights, and writes the results."""
        evaluation, samples = compute_evaluation(self._run)
        if self._writer:
            write_evaluation(self._run, self._writer, evaluation, samples)
        return evaluation.card


class Scalars:
    """Writes the metrics, and images per second, to TensorBoard.

    Args:
      writer: None to write nothing.
      throughput: Called before this callback.
    """

    def __init__(self, writer: tensorboard.EventWriter | None, throughput: Throughput) -> None:
        self._writer = writer
        self._throughput = throughput

    def __call__(self, step: int, metrics: Metrics) -> None:
        if self._writer is None:
            return
        values = dict(metrics)
        if self._throughput.images_per_second is not None:
            values["speed/images_per_second"] = self._throughput.images_per_second
        self._writer.scalars(step, values)


def grid_name(step: int) -> str:
    """The name of a sample grid's file."""
    return f"step_{step:07d}.png"


class Samples:
    """Writes a grid of samples to TensorBoard and to a PNG file.

    Args:
      writer: None to draw the samples, in which every process takes part, but write nothing.
      directory: Directory of the PNG files.
      sample: Returns images [N, H, W, C] in [-1, 1].
    """

    def __init__(
        self,
        writer: tensorboard.EventWriter | None,
        directory: str,
        sample: Callable[[], np.ndarray],
    ) -> None:
        self._writer = writer
        self._directory = directory
        self._sample = sample

    def __call__(self, step: int, metrics: Metrics) -> None:
        samples = self._sample()
        if self._writer:
            grid = image_grid(denormalise(samples))
            self._writer.image(step, "samples", grid)
            write_png(f"{self._directory}/{grid_name(step)}", grid)


class Progress:
    """A progress bar on a terminal or in a notebook; elsewhere log lines, and one at the last step.

    Args:
      throughput: Called before this callback.
      step: Number of steps already done.
      last_step: Number of steps after which training ends.
      shown: Whether to show anything.
      seconds: Shortest time between two log lines.
      clock: Returns seconds.
    """

    def __init__(
        self,
        throughput: Throughput,
        step: int,
        last_step: int,
        *,
        shown: bool = True,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._throughput = throughput
        self._last_step = last_step
        self._shown = shown
        self._seconds = seconds
        self._clock = clock
        self._next_line = clock()
        self._bar = None
        if shown and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            self._bar = tqdm.tqdm(initial=step, total=last_step, unit="step", dynamic_ncols=True)

    def __call__(self, step: int, metrics: Metrics) -> None:
        if not self._shown:
            return
        values = {
            "loss_d": f"{metrics['loss/discriminator']:.3f}",
            "loss_g": f"{metrics['loss/generator']:.3f}",
        }
        if speed := self._throughput.images_per_second:
            values["images/s"] = f"{speed:.0f}"
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._clock() >= self._next_line or step >= self._last_step:
            self._next_line = self._clock() + self._seconds
            text = ", ".join(f"{name} {value}" for name, value in values.items())
            left = self._throughput.seconds_left
            eta = f", ETA {tqdm.tqdm.format_interval(left)}" if left else ""
            logging.info("step %d/%d: %s%s", step, self._last_step, text, eta)

    def close(self) -> None:
        """Ends the progress bar."""
        if self._bar is not None:
            self._bar.close()


class Profile:
    """Traces steps for TensorBoard's Profile tab.

    A first call of a single step is left out, since it traces the functions and compiles.

    Args:
      model_dir: Its plugins/profile/TIME receives the trace.
      step: Number of steps already done.
      num_steps: Number of steps to trace, 0 or more; a run that ends earlier ends its trace.
      traced: Whether this process traces. Its calls of train are cut in any case, since they must
        be of the same steps on all processes.
    """

    def __init__(self, model_dir: str, step: int, num_steps: int, *, traced: bool = True) -> None:
        self.on_steps = [step + 1, step + 1 + num_steps] if num_steps else []
        """The steps after which it must be called: the start and the end of the trace."""
        self._model_dir = model_dir
        self._traced = traced
        self._tracing = False

    def __call__(self, step: int, metrics: Metrics) -> None:
        if self._tracing:
            self.close()
        elif self._traced and step == self.on_steps[0]:
            tf.profiler.experimental.start(self._model_dir)
            self._tracing = True

    def close(self) -> None:
        """Ends the trace, if one has begun, and writes it."""
        if self._tracing:
            self._tracing = False
            tf.profiler.experimental.stop()
            logging.info(
                "profile: %s/plugins/profile; to view it, pip install xprof and open the Profile "
                "tab of tensorboard --logdir=%s",
                self._model_dir,
                self._model_dir,
            )
