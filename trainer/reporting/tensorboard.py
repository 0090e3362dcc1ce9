"""TensorBoard's event files: scalars, images and text, written and read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

_MAX_FLUSH_SHARE = 0.05  # of the time


def read_scalars(model_dir: str) -> dict[str, tuple[list[int], list[float]]]:
    """The scalars in a directory's event files: tag -> (steps, values), in order of the steps."""
    sizes = {event_accumulator.TENSORS: 0, event_accumulator.IMAGES: 1}  # 0 means all of them
    events = event_accumulator.EventAccumulator(model_dir, size_guidance=sizes).Reload()
    curves = {}
    for tag in events.Tags()["tensors"]:
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            # A run that was killed and resumed may have written a step twice; the later one counts.
            points = {e.step: float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
            curves[tag] = (sorted(points), [points[step] for step in sorted(points)])
    return curves


class EventWriter:
    """Writes TensorBoard event files to `model_dir`, local or gs://.

    On a local disk, each event is in the file at once. An object store uploads the whole file for
    each flush, so there flushes are spaced to take at most 5 % of the time.
    """

    def __init__(self, model_dir: str, clock: Callable[[], float] = time.monotonic) -> None:
        # TensorFlow flushes too, when its queue is full or two minutes old.
        self._writer = tf.summary.create_file_writer(model_dir, max_queue=1_000_000)
        self._clock = clock
        self._next_flush = clock()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._writer.set_as_default(np.asarray(step))  # as_default would flush each time
        for name, value in values.items():
            # An array, since TensorFlow keeps a tensor of every Python number for ever.
            tf.summary.scalar(name, np.asarray(value, np.float32))
        self._flush_if_due()

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes an image, uint8 [H, W, C]."""
        self._writer.set_as_default(step)
        tf.summary.image(name, picture[np.newaxis])
        self._flush_if_due()

    def text(self, step: int, name: str, markdown: str) -> None:
        self._writer.set_as_default(step)
        tf.summary.text(name, markdown)
        self._flush_if_due()

    def flush(self) -> None:
        """Writes all pending events to the file."""
        started = self._clock()
        self._writer.flush()
        ended = self._clock()
        self._next_flush = ended + (ended - started) / _MAX_FLUSH_SHARE

    def _flush_if_due(self) -> None:
        if self._clock() >= self._next_flush:
            self.flush()

    def close(self) -> None:
        self._writer.close()
