from __future__ import annotations

import types

import numpy as np
import pytest
import tensorflow as tf
from support.doctor import IMAGES, LABELS, dense_discriminator, dense_generator

from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.errors import TrainerError
from trainer.experiment import Experiment
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


def test_weights_that_are_not_finite_are_refused(tmp_path, make_strategy):
    def dataset(*, data_dir):
        return Dataset(DatasetSpec("digits8", (8, 8, 1), 10), lambda _: Examples(IMAGES, LABELS))

    run = Experiment(
        dataset=dataset,
        strategy=lambda: make_strategy(1),
        generator=dense_generator,
        discriminator=dense_discriminator,
        num_samples=4,
        doctor=None,
    ).build(str(tmp_path), notebook_only=True)
    checkpoints = run.checkpoints()
    for step, value in enumerate((1.0, np.inf, np.nan)):
        run.trainer.step.assign(step)
        bias = run.trainer.generator.layers[0].bias
        bias.assign(tf.fill(bias.shape, value))
        checkpoints.save()
    message = r"step-2 holds a \S+/bias that is not finite; the last good one is step-0: remove"
    with pytest.raises(TrainerError, match=message):
        run.restore()
    checkpoints.remove_after(0)
    run.restore()
    assert run.step == 0
