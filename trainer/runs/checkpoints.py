"""Saving and restoring all state of a run."""

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

    TensorFlow writes a checkpoint under temporary names and renames its index last, so that a run
    killed while saving keeps the ones before, and an index says that its checkpoint is whole.

    Args:
      items: Everything to save, by name; "step" must be among them.
      model_dir: Local or gs:// directory.
      keep: How many to keep, at least 1.
      chief: Whether this process writes to model_dir. Under multi-worker strategies every
        process must take part in saving, and the others write to a scratch directory.
      name: Of their directory in model_dir.
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
        if keep < 1:
            raise TrainerError(f"train.keep_checkpoints={keep} must be at least 1")
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
        """Saves the current step; one that is saved already only if it is to be saved `again`."""
        step = int(self._step.numpy())
        if again or step != self._saved_step:
            self._manager.save(checkpoint_number=step)
            self._saved_step = step

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, newest first; the chief's to do."""
        for path in self._paths():
            if _step_of(path) > step:
                for file in (f"{path}.index", *tf.io.gfile.glob(f"{path}.data-*")):
                    tf.io.gfile.remove(file)

    def restore(self, *, at_most: int | None = None) -> bool:
        """Restores the newest checkpoint that can be read; False if there is none at all.

        Args:
          at_most: The latest step that may be restored; None for any.

        Raises:
          TrainerError: if there are checkpoints, but none can be read.
        """
        paths = [p for p in self._paths() if at_most is None or _step_of(p) <= at_most]
        for path in paths:
            try:
                status = self._checkpoint.restore(path).assert_existing_objects_matched()
                status.expect_partial()  # what training alone goes on from, an evaluation lacks
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
        """The path of the newest checkpoint, without its suffixes.

        The one that this process saved or restored is known without a look, which may be out of
        reach by now.
        """
        if self._saved_step is not None:
            return f"{self.directory}/{_NAME}-{self._saved_step}"
        return next(iter(self._paths()), None)

    def _paths(self) -> list[str]:
        """Complete checkpoints, newest first: the index is what TensorFlow writes last."""
        found = tf.io.gfile.glob(f"{self.directory}/{_NAME}-*.index")
        paths = [path.removesuffix(".index") for path in found]
        return sorted(paths, key=_step_of, reverse=True)


def _step_of(path: str) -> int:
    return int(path.rsplit("-", 1)[1])
