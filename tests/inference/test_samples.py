from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import TrainerError
from trainer.experiment import Experiment
from trainer.inference import samples


def test_one_seed_is_one_set_of_samples(conditional):
    ours, other = conditional.sample(9, seed=3), conditional.sample(9, seed=4)
    assert (ours.shape, ours.dtype) == ((9, 28, 28, 1), np.uint8)
    assert (ours != other).any()
    np.testing.assert_array_equal(ours, conditional.sample(9, seed=3))
    np.testing.assert_array_equal(conditional.sample(9), conditional.sample(9, seed=0))


def test_there_are_as_many_as_in_the_runs_grids(conditional):
    assert len(conditional.sample()) == conditional.schedule.num_samples


def test_many_samples_begin_with_those_of_few(conditional):
    many = conditional.sample(samples._CHUNK + 7)
    few = conditional.sample(9)
    # Within rounding: another number of images may be convolved in another order.
    np.testing.assert_allclose(many[:9].astype(int), few, atol=1)
    assert len(np.unique(many, axis=0)) == samples._CHUNK + 7


def test_labels_are_taken_in_turn(conditional):
    all_of_them, threes = conditional.sample(20), conditional.sample(20, labels=[3])
    np.testing.assert_array_equal(all_of_them[3::10], threes[3::10])
    assert (all_of_them[4::10] != threes[4::10]).any()
    two = conditional.sample(20, labels=[3, 4])
    np.testing.assert_array_equal(two[::2], threes[::2])
    assert (two[1::2] != threes[1::2]).any()


def test_truncation_reduces_diversity(conditional):
    spread = [
        conditional.sample(50, truncation=t).astype(float).std(0).mean() for t in (0.2, 1.0, 9.0)
    ]
    assert spread[0] < spread[1] < spread[2]
    untruncated = conditional.sample(9)
    np.testing.assert_allclose(
        conditional.sample(9, truncation=20.0).astype(int), untruncated, atol=1
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num": 0}, "num=0 must be at least 1"),
        ({"seed": -1}, r"seed=-1 is not in \[0, 2\*\*32\)"),
        ({"seed": 2**32}, r"seed=4294967296 is not in \[0, 2\*\*32\)"),
        ({"truncation": 0.0}, "truncation=0.0 must be above 0"),
        ({"truncation": float("nan")}, "truncation=nan must be above 0"),
        ({"labels": [1, 10]}, r"label=10 is not in \[0, 10\)"),
    ],
    ids=str,
)
def test_arguments_out_of_range(conditional, arguments, message):
    with pytest.raises(TrainerError, match=message):
        conditional.sample(**arguments)


def test_labels_need_a_conditional_generator(tmp_path):
    run = Experiment.from_gin(["digits.gin", "hardware/one_device.gin"]).build(str(tmp_path))
    with pytest.raises(TrainerError, match="label=3 needs a conditional generator; train one"):
        run.sample(1, labels=[3])
