"""Checkpoints of a run: all of its state, saved and restored."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from trainer import files
from trainer.errors import TrainerError, first_line

_NAME = "step"
_INDEX = re.compile(rf"{_NAME}-(\d{{1,18}})\.index", re.ASCII)


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
        self._keep = keep
        self._scratch = None if chief else tempfile.TemporaryDirectory()

    def save(self, *, again: bool = False) -> None:
        """Saves the current step, unless this process has saved or restored it.

        The checkpoint is on the disk before older ones are removed.

        Args:
          again: Save it in any case.
        """
        step = int(self._step.numpy())
        if not again and step == self._saved_step:
            return
        if self._scratch:
            self._checkpoint.write(f"{self._scratch.name}/{_NAME}")
        else:
            files.check_no_link(self.directory)
            files.check_no_link(f"{self._path(step)}_temp")  # where TensorFlow writes at first
            tf.io.gfile.makedirs(self.directory)
            self._checkpoint.write(self._path(step))
            self._flush(step)
            steps = self._steps()
            self._list(steps[: self._keep])
            self._remove(steps[self._keep :])
        self._saved_step = step

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, newest first; only the chief may call it."""
        files.check_no_link(self.directory)
        steps = self._steps()
        self._list([saved for saved in steps if saved <= step])
        self._remove([saved for saved in steps if saved > step])

    def _flush(self, step: int) -> None:
        if files.is_remote(self.directory):
            return
        for name in self._files(step):
            files.flush_to_disk(f"{self.directory}/{name}")
        files.flush_to_disk(self.directory)

    def _list(self, steps: Sequence[int]) -> None:
        """Writes TensorFlow's list of checkpoints for its own tools; the trainer never reads it."""
        if not steps:
            return  # TensorFlow takes an empty list for a damaged one
        lines = [f'model_checkpoint_path: "{_NAME}-{steps[0]}"']
        lines += [f'all_model_checkpoint_paths: "{_NAME}-{step}"' for step in reversed(steps)]
        files.write_file(f"{self.directory}/checkpoint", "".join(f"{line}\n" for line in lines))

    def _remove(self, steps: Sequence[int]) -> None:
        for step in steps:
            for name in self._files(step):
                tf.io.gfile.remove(f"{self.directory}/{name}")

    def _files(self, step: int) -> list[str]:
        """The names of a checkpoint's files, the index first: without it there is no checkpoint."""
        own = re.compile(rf"{_NAME}-{step}\.(index|data-\d+-of-\d+)")
        return sorted(filter(own.fullmatch, files.names(self.directory)), reverse=True)

    def restore(self, *, at_most: int | None = None) -> bool:
        """Restores the newest checkpoint that can be read.

        Args:
          at_most: Ignore checkpoints of later steps; by default none are ignored.

        Returns:
          Whether there was a checkpoint.

        Raises:
          TrainerError: if there are checkpoints, but none can be read.
        """
        steps = [step for step in self._steps() if at_most is None or step <= at_most]
        for step in steps:
            path = self._path(step)
            try:
                with _without_patterns(self.directory) as directory:
                    status = self._checkpoint.read(f"{directory}/{_NAME}-{step}")
                    # An evaluation needs less than training saved.
                    status.assert_existing_objects_matched().expect_partial()
            except Exception as error:  # TensorFlow's reader raises IndexError too, and others
                logging.warning(
                    "checkpoint %s cannot be read (%s); trying the one before",
                    path,
                    first_line(error),
                )
                continue
            self._saved_step = int(self._step.numpy())
            return True
        if steps:
            raise TrainerError(
                f"none of the {len(steps)} checkpoints in {self.directory} can be read; remove "
                "that directory to start the run again, or choose another --model_dir"
            )
        return False

    @property
    def latest(self) -> str | None:
        """Path of the newest checkpoint, without its suffixes; None if there is none.

        If this process saved or restored one, the directory is not read: it may have become
        unreachable.
        """
        steps = self._steps() if self._saved_step is None else [self._saved_step]
        return self._path(steps[0]) if steps else None

    def _path(self, step: int) -> str:
        return f"{self.directory}/{_NAME}-{step}"

    def _steps(self) -> list[int]:
        """Steps of the complete checkpoints, newest first; TensorFlow writes the index last."""
        found = map(_INDEX.fullmatch, files.names(self.directory))
        return sorted((int(match[1]) for match in found if match), reverse=True)


@contextlib.contextmanager
def _without_patterns(directory: str) -> Iterator[str]:
    """Another path of a directory whose own TensorFlow's reader would take for a pattern."""
    if files.is_remote(directory) or not re.search(r"[][*?\\]", directory):
        yield directory
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.symlink(os.path.abspath(directory), f"{scratch}/checkpoints")
        yield f"{scratch}/checkpoints"
