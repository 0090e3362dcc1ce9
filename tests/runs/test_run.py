from __future__ import annotations

import types

import pytest

from trainer.errors import TrainerError
from trainer.runs.run import Run, Schedule


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"num_epochs": 0}, "num_epochs=0 must be an integer of at least 1"),
        ({"num_steps": 0}, "num_steps=0 must be an integer of at least 1"),
        ({"steps_per_loop": 0}, "steps_per_loop=0 must be an integer of at least 1"),
        ({"keep_checkpoints": 0}, "keep_checkpoints=0 must be an integer of at least 1"),
        ({"num_samples": 0}, "num_samples=0 must be an integer of at least 1"),
        ({"checkpoint_every": -1}, "checkpoint_every=-1 must be an integer of at least 0"),
        ({"sample_every": -1}, "sample_every=-1 must be an integer of at least 0"),
        ({"evaluate_every": -1}, "evaluate_every=-1 must be an integer of at least 0"),
        ({"rollbacks": -1}, "rollbacks=-1 must be an integer of at least 0"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(setting, rule):
    with pytest.raises(TrainerError, match=rule):
        Schedule(**setting)


@pytest.mark.parametrize(
    ("settings", "num_steps"),
    [({"num_epochs": 3}, 21), ({"num_epochs": 3, "num_steps": 5}, 5), ({}, 210)],
)
def test_the_number_of_steps_is_given_or_follows_from_the_epochs(settings, num_steps):
    trainer = types.SimpleNamespace(batch_sampler=types.SimpleNamespace(steps_per_epoch=7))
    parts = dict.fromkeys(
        ["spec", "real_images", "evaluator", "doctor", "model_dir", "config_text", "settings"]
    )
    assert Run(trainer, Schedule(**settings), **parts).num_steps == num_steps
