from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.data import batches
from trainer.errors import TrainerError


def test_normalise_and_back():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    normalised = batches.normalise(tf.constant(images)).numpy()
    assert (normalised.min(), normalised.max(), normalised.dtype) == (-1, 1, np.float32)
    np.testing.assert_array_equal(batches.denormalise(normalised), images)


def test_denormalise_clips():
    assert batches.denormalise(np.array([-1.5, 1.5])).tolist() == [0, 255]


def test_golden_batches_never_change():
    # A change here would change every run that was ever recorded, and break its resumption.
    sampler = batches.BatchSampler(10, batch_size=5, seed=3)
    assert sampler.indices(1, 2).tolist() == [[7, 9, 4, 3, 0], [9, 7, 8, 3, 5]]


def test_an_epoch_visits_each_example_once():
    sampler = batches.BatchSampler(100, batch_size=10, seed=0)
    first, second = sampler.indices(0, 10), sampler.indices(10, 10)
    assert sorted(first.ravel()) == sorted(second.ravel()) == list(range(100))
    assert not np.array_equal(first, second)


def test_the_last_partial_batch_is_left_out():
    sampler = batches.BatchSampler(105, batch_size=10, seed=0)
    assert sampler.steps_per_epoch == 10
    assert len(set(sampler.indices(0, 10).ravel())) == 100


def test_batches_are_a_function_of_seed_and_step():
    whole = batches.BatchSampler(50, batch_size=8, seed=1).indices(0, 40)
    fresh = batches.BatchSampler(50, batch_size=8, seed=1)
    np.testing.assert_array_equal(fresh.indices(17, 20), whole[17:37])
    other = batches.BatchSampler(50, batch_size=8, seed=2)
    assert not np.array_equal(other.indices(0, 40), whole)


def test_a_batch_larger_than_the_dataset_is_refused():
    with pytest.raises(TrainerError, match=r"^batch_size=11 is more than the dataset's 10"):
        batches.BatchSampler(10, batch_size=11, seed=0)


def test_replicate_puts_a_copy_on_each_replica(make_strategy):
    strategy = make_strategy(4)
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    labels = np.array([7, 8, 900], np.int32)
    data = batches.replicate(strategy, images, labels)
    for part in data:
        copies = strategy.experimental_local_results(part)
        assert [c.device[-5:] for c in copies] == [f"CPU:{i}" for i in range(4)]

    def on_replica(data):
        return batches.gather_batch(data, tf.constant([2, 0]), (2, 2, 1))

    taken = strategy.run(on_replica, args=(data,))
    for part, expected in zip(taken, (images, labels), strict=True):
        for copy in strategy.experimental_local_results(part):
            np.testing.assert_array_equal(copy, expected[[2, 0]])


def test_without_labels_there_are_none(make_strategy):
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    data = batches.replicate(make_strategy(1), images)
    taken, labels = batches.gather_batch(data, tf.constant([1]), (2, 2, 1))
    np.testing.assert_array_equal(taken, images[[1]])
    assert labels is None


def test_a_batch_is_shared_evenly():
    assert batches.per_replica_batch_size(32, 8) == 4
    with pytest.raises(TrainerError, match=r"^batch_size=30 .* 8 replicas; .*: 24, 32"):
        batches.per_replica_batch_size(30, 8)
