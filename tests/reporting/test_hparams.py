"""The event files; tests/test_tensorboard.py shows them in a server."""

from __future__ import annotations

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from trainer.reporting import hparams


def columns(directory):
    events = EventAccumulator(str(directory)).Reload()
    content = events.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    return metadata.parse_experiment_plugin_data(content)


def test_the_last_start_counts(tmp_path):
    for steps in (2, 4):
        hparams.write(str(tmp_path), {"num_steps": steps, "loss": "hinge", "conditional": False})
    assert len(list(tmp_path.iterdir())) == 1
    expected = {"num_steps": 4.0, "loss": "hinge", "conditional": False}
    assert hparams._read(str(tmp_path)) == expected


def test_columns_are_what_the_runs_have_set(tmp_path):
    runs = [
        {"seed": 0, "batch_size": 32, "weight_decay": "none"},
        {"seed": 1, "batch_size": 32, "weight_decay": 0.5, "r1.weight": 2.0},
    ]
    for i, settings in enumerate(runs):
        hparams.write(f"{tmp_path}/{i}", settings)
    directories = [f"{tmp_path}/{i}" for i in range(3)]  # the last has left none
    for title in ("old", "FID"):
        hparams.write_columns(str(tmp_path), directories, {"evaluation/fid": title})
    told = columns(tmp_path)
    assert [(m.name.tag, m.display_name) for m in told.metric_infos] == [("evaluation/fid", "FID")]
    seen = {i.name: (i.differs, list(i.domain_discrete)) for i in told.hparam_infos}
    assert seen == {
        "seed": (True, [0.0, 1.0]),
        "batch_size": (False, [32.0]),
        "weight_decay": (True, ["0.5", "none"]),
        "r1.weight": (False, [2.0]),
    }
