"""TensorBoard's HPARAMS tab: the settings of each run, and the columns of a comparison."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import api as hp
from tensorboard.plugins.hparams import metadata

from trainer import files

Setting = bool | int | float | str

_SUFFIX = ".hparams"


def write(model_dir: str, settings: Mapping[str, Setting]) -> None:
    """Writes the settings of a run to `model_dir`, replacing those of its last start.

    They are in an event file of their own, since TensorBoard reads only the first settings in a
    directory. Call this before the run's other events are written: some of TensorBoard's readers
    follow only the newest file.
    """
    with _alone_in(model_dir):
        hp.hparams(
            dict(settings), trial_id=""
        )  # without a group, each run is a row named by its directory


def write_columns(output: str, model_dirs: Sequence[str], metrics: Mapping[str, str]) -> None:
    """Writes to `output` which columns to show for the runs below it.

    Without it, TensorBoard shows all settings and all scalars, ordered by name.

    Args:
      output: Local or gs:// directory.
      model_dirs: Directories of the runs. A run that has written no settings is ignored.
      metrics: Scalar tag -> title, in display order.
    """
    seen: dict[str, set[Setting]] = {}
    for model_dir in model_dirs:
        for name, value in _read(model_dir).items():
            seen.setdefault(name, set()).add(value)
    settings = [hp.HParam(name, _Values(values)) for name, values in seen.items()]
    shown = [hp.Metric(tag, display_name=title) for tag, title in metrics.items()]
    with _alone_in(output):
        hp.hparams_config(settings, shown)


def _alone_in(directory: str) -> AbstractContextManager[tf.summary.SummaryWriter]:
    for path in _own_files(directory):
        tf.io.gfile.remove(path)
    return tf.summary.create_file_writer(directory, filename_suffix=_SUFFIX).as_default()


def _own_files(directory: str) -> list[str]:
    """The event files that this module has written there."""
    own = re.compile(rf"events\.out\.tfevents\..*{re.escape(_SUFFIX)}")
    return [f"{directory}/{name}" for name in files.names(directory) if own.fullmatch(name)]


def _read(model_dir: str) -> dict[str, Setting]:
    """The settings that `write` wrote."""
    found: dict[str, Setting] = {}
    for path in _own_files(model_dir):
        events = event_accumulator.EventAccumulator(path).Reload()
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        settings = metadata.parse_session_start_info_plugin_data(content).hparams
        found |= {name: getattr(v, v.WhichOneof("kind")) for name, v in settings.items()}
    return found


class _Values(hp.Discrete):
    """The values of a setting in several runs; TensorBoard shows settings that differ first."""

    def __init__(self, values: set[Setting]) -> None:
        kinds = {type(value) for value in values}
        super().__init__(values if len(kinds) == 1 else {str(value) for value in values})

    def update_hparam_info(self, info: Any) -> None:
        super().update_hparam_info(info)
        info.differs = len(self.values) > 1
