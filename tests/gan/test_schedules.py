from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.errors import TrainerError
from trainer.gan import schedules


def values(value, steps):
    return [
        float(schedules.at(value, tf.constant(step, tf.int64), "float32").numpy()) for step in steps
    ]


def test_cosine_is_half_a_cosine_after_a_straight_line():
    schedule = schedules.Cosine(first=2.0, last=1.0, steps=100, warm_up_steps=10)
    steps = [0, 5, 10, 35, 60, 110, 1000]
    expected = [0.0, 1.0, 2.0, 1.5 + 0.5 * np.sqrt(0.5), 1.5, 1.0, 1.0]
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)


def test_cosine_may_rise():
    schedule = schedules.Cosine(first=0.9, last=0.99, steps=2)
    np.testing.assert_allclose(values(schedule, [0, 1, 2]), [0.9, 0.945, 0.99], rtol=1e-6)


def test_warm_up_and_constants():
    np.testing.assert_allclose(
        values(schedules.WarmUp(value=3.0, steps=4), [0, 1, 4, 9]), [0.0, 0.75, 3.0, 3.0]
    )
    assert values(schedules.Constant(value=0.5), [0, 7]) == values(0.5, [0, 7]) == [0.5, 0.5]


@pytest.mark.parametrize("lengths", [{"steps": 0}, {"steps": 5, "warm_up_steps": -1}])
def test_lengths_out_of_range(lengths):
    with pytest.raises(TrainerError, match="Cosine.steps=.* must be at least 1"):
        schedules.Cosine(first=1.0, last=0.0, **lengths)


def test_a_warm_up_without_steps_is_refused():
    with pytest.raises(TrainerError, match=r"WarmUp\.steps=0 must be at least 1"):
        schedules.WarmUp(value=1.0, steps=0)
