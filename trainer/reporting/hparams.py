"""TensorBoard's HPARAMS tab: the settings that each run leaves, and a comparison's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import api as hp
from tensorboard.plugins.hparams import metadata

Setting = bool | int | float | str

_SUFFIX = ".hparams"


def write(model_dir: str, settings: Mapping[str, Setting]) -> None:
    """Leaves the settings of a run in `model_dir`, in place of those of its last start.

    They have an event file of their own: of two in a directory TensorBoard would take the first.
    Write them before a run's other events, since some of TensorBoard's readers only follow the
    newest file.
    """
    with _alone_in(model_dir):
        hp.hparams(dict(settings), trial_id="")  # no group: a row a run, named by its directory


def write_columns(output: str, model_dirs: Sequence[str], metrics: Mapping[str, str]) -> None:
    """Says in `output` what to show of the runs below it: their settings, and these metrics.

    Without it TensorBoard shows all settings and all scalars, by name.

    Args:
      output: Local or gs:// directory.
      model_dirs: The runs, which have left their settings; one that has not counts for nothing.
      metrics: Titles, by the scalar's tag, in the order to show them.
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
    for path in tf.io.gfile.glob(f"{directory}/*{_SUFFIX}"):
        tf.io.gfile.remove(path)
    return tf.summary.create_file_writer(directory, filename_suffix=_SUFFIX).as_default()


def _read(model_dir: str) -> dict[str, Setting]:
    """What `write` left."""
    found: dict[str, Setting] = {}
    for path in tf.io.gfile.glob(f"{model_dir}/*{_SUFFIX}"):
        events = event_accumulator.EventAccumulator(path).Reload()
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        settings = metadata.parse_session_start_info_plugin_data(content).hparams
        found |= {name: getattr(v, v.WhichOneof("kind")) for name, v in settings.items()}
    return found


class _Values(hp.Discrete):
    """The values of a setting in several runs; TensorBoard shows first those that differ."""

    def __init__(self, values: set[Setting]) -> None:
        kinds = {type(value) for value in values}
        super().__init__(values if len(kinds) == 1 else {str(value) for value in values})

    def update_hparam_info(self, info: Any) -> None:
        super().update_hparam_info(info)
        info.differs = len(self.values) > 1
