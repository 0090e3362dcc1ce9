"""Checkpoints of a run: all of its state, saved and restored."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from trainer.errors import TrainerError, first_line

_NAME = "step"


class Checkpoints:
    """The newest `keep` checkpoints of a run, in `model_dir/checkpoints`.

    TensorFlow writes a checkpoint under temporary names and renames its index last. So a run that
    is killed while saving keeps its earlier checkpoints, and one with an index is complete.

    Args:
      items: Everything to save, by name, with the step counter as "step".
      model_dir: Directory of the run, local or gs://.
      keep: Number of checkpoints to keep, at least 1.
      chief: Whether this process writes to model_dir. Under multi-worker strategies every
        process must take part in saving; the others write to a temporary directory.
      name: Name of the checkpoints' directory in model_dir.
    """

    def __init__(
        self,
        items: Mapping[str, Any],
        model_dir: str,
        *,
        keep: int = 3,
        chief: bool = True,
        name: str = "checkpoints",
    ) -> None:
        self.directory = f"{model_dir}/{name}"
        self._step = items["step"]
        self._checkpoint = tf.train.Checkpoint(**items)
        self._saved_step: int | None = None
        self._scratch = None if chief else tempfile.TemporaryDirectory()
        self._manager = tf.train.CheckpointManager(
            self._checkpoint,
            self._scratch.name if self._scratch else self.directory,
            max_to_keep=keep,
            checkpoint_name=_NAME,
        )

    def save(self, *, again: bool = False) -> None:
        """Saves the current step, unless this process has saved or restored it.

        Args:
          again: Save it in any case.
        """
        step = int(self._step.numpy())
        if again or step != self._saved_step:
            self._manager.save(checkpoint_number=step)
            self._saved_step = step

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, newest first; only the chief may call it."""
        for path in self._paths():
            if _step_of(path) > step:
                for file in (f"{path}.index", *tf.io.gfile.glob(f"{path}.data-*")):
                    tf.io.gfile.remove(file)

    def restore(self, *, at_most: int | None = None) -> bool:
        """Restores the newest checkpoint that can be read.

        Args:
          at_most: Ignore checkpoints of later steps; by default none are ignored.

        Returns:
          Whether there was a checkpoint.

        Raises:
          TrainerError: if there are checkpoints, but none can be read.
        """
        paths = [p for p in self._paths() if at_most is None or _step_of(p) <= at_most]
        for path in paths:
            try:
                status = self._checkpoint.restore(path).assert_existing_objects_matched()
                status.expect_partial()  # an evaluation needs less than training saved
            except Exception as error:  # TensorFlow's reader raises IndexError too, and others
                logging.warning(
                    "checkpoint %s cannot be read (%s); trying the one before",
                    path,
                    first_line(error),
                )
                continue
            self._saved_step = int(self._step.numpy())
            return True
        if paths:
            raise TrainerError(
                f"none of the {len(paths)} checkpoints in {self.directory} can be read; remove "
                "that directory to start the run again, or choose another --model_dir"
            )
        return False

    @property
    def latest(self) -> str | None:
        """Path of the newest checkpoint, without its suffixes; None if there is none.

        If this process saved or restored one, the directory is not read: it may have become
        unreachable.
        """
        if self._saved_step is not None:
            return f"{self.directory}/{_NAME}-{self._saved_step}"
        return next(iter(self._paths()), None)

    def _paths(self) -> list[str]:
        """Paths of the complete checkpoints, newest first; TensorFlow writes the index last."""
        found = tf.io.gfile.glob(f"{self.directory}/{_NAME}-*.index")
        paths = [path.removesuffix(".index") for path in found]
        return sorted(paths, key=_step_of, reverse=True)


def _step_of(path: str) -> int:
    return int(path.rsplit("-", 1)[1])
