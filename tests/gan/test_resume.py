"""Exact resume: a run resumed from a checkpoint ends bit for bit as one that never stopped."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from support.combinations import COMBINATIONS, make
from support.weights import assert_same, state

from trainer.runs.checkpoints import Checkpoints

SLOW = ("everything without labels", "residual")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(changes, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, changes in COMBINATIONS.items()
    ],
)
def test_a_resumed_run_ends_the_same(make_strategy, tmp_path, changes):
    whole = make(make_strategy(1), **changes)
    whole.train(3)
    Checkpoints(whole.checkpoint_items, str(tmp_path)).save()
    before = state(whole)
    whole.train(3)
    resumed = make(make_strategy(1), **changes)
    assert Checkpoints(resumed.checkpoint_items, str(tmp_path)).restore()
    resumed.train(1)
    resumed.train(2)
    after = state(whole)
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    groups = {name.rsplit(" ", 1)[0] for name in after}
    assert {name.rsplit(" ", 1)[0] for name in changed} == groups  # every part of the state
    assert_same(state(resumed), after)
    samples = [
        t.inference.sample(tf.constant(whole.inference.latents(4))) for t in (whole, resumed)
    ]
    np.testing.assert_array_equal(*samples)
