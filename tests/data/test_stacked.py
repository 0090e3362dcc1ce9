from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from support.mnist import write_mnist

from trainer.data import archives as idx
from trainer.data import tfds_source
from trainer.data.batches import normalise
from trainer.data.dataset import Examples
from trainer.data.stacked import stack, stacked_mnist
from trainer.errors import TrainerError
from trainer.evaluation.features.channels import per_channel

NUM_TRAIN, NUM_TEST = 40, 30


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A data_dir with a small MNIST whose pixels hold the label, the index and the split."""
    data_dir = tmp_path_factory.mktemp("data")
    write_mnist(data_dir, NUM_TRAIN, NUM_TEST)
    return str(data_dir)


def numbers(examples):
    """[N, 3]: which image of MNIST each channel shows."""
    return examples.images[:, 0, 1].astype(int)


def test_the_spec_is_known_before_anything_is_prepared(tmp_path):
    spec = stacked_mnist(data_dir=str(tmp_path)).spec
    assert (spec.name, spec.image_shape, spec.num_classes) == ("stacked_mnist", (28, 28, 3), 1000)
    assert spec.num_train == 60_000
    assert stacked_mnist(data_dir=str(tmp_path), num_train=7).spec.num_train == 7


@pytest.mark.parametrize(("split", "count"), [("train", 90), ("test", 35)])
def test_channels_are_digits_of_the_split_and_labels_are_theirs(small, split, count):
    examples = stacked_mnist(data_dir=small, num_train=90, num_test=35).load(split)
    assert examples.images.shape == (count, 28, 28, 3) and examples.images.dtype == np.uint8
    assert examples.labels.dtype == np.int32
    digits = tfds_source.mnist(data_dir=small).load(split).images[..., 0]
    by_number = digits[np.argsort(digits[:, 0, 1])]
    for channel in range(3):
        shown = examples.images[..., channel]
        np.testing.assert_array_equal(shown, by_number[shown[:, 0, 1]])
    assert set(examples.images[:, 0, 2].ravel()) == {("train", "test").index(split)}
    red, green, blue = examples.images[:, 0, 0].astype(int).T
    assert examples.labels.tolist() == (100 * red + 10 * green + blue).tolist()


def test_every_digit_is_shown_before_one_is_shown_again(small):
    shown = numbers(stacked_mnist(data_dir=small, num_train=100).load("train"))
    for channel in shown.T:
        assert sorted(channel[:40]) == sorted(channel[40:80]) == list(range(NUM_TRAIN))
        assert len(set(channel[80:])) == 20
        assert channel[:40].tolist() != channel[40:80].tolist()


def test_channels_are_independent(small):
    """400 of the 1,600 pairs, drawn independently: 354 different ones, give or take 6."""
    shown = numbers(stacked_mnist(data_dir=small, num_train=400).load("train"))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 330 < len(set(zip(shown[:, a], shown[:, b], strict=True))) < 380


def test_the_images_are_a_function_of_the_settings(small):
    first, again, other = (
        stacked_mnist(data_dir=small, num_train=50, seed=seed).load("train") for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(numbers(first), numbers(other))
    longer = stacked_mnist(data_dir=small, num_train=95).load("train")
    np.testing.assert_array_equal(longer.images[:50], first.images)


def test_golden_stack_never_changes():
    # A change here would change what every card of stacked MNIST was measured against.
    digits = Examples(np.zeros((10, 1, 1, 1), np.uint8), np.arange(10, dtype=np.int32))
    keys = [(0, 2**32 + channel) for channel in range(3)]
    assert stack(digits, 4, keys).labels.tolist() == [357, 845, 570, 902]


def test_stacking_takes_little_more_than_its_result():
    digits = Examples(np.zeros((2_000, 28, 28, 1), np.uint8), np.zeros(2_000, np.int32))
    tracemalloc.start()
    try:
        result = stack(digits, 6_000, [(0, channel) for channel in range(3)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * result.images.nbytes  # one channel besides


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_train": 0}, "num_train=0 must be at least 1"),
        ({"num_test": -1}, "num_test=-1 must be at least 1"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(TrainerError, match=rf"stacked_mnist\.{message}"):
        stacked_mnist(**setting)


@pytest.mark.archives
def test_the_real_digits_are_all_there_and_are_what_their_labels_say(archives, tmp_path):
    idx.prepare("mnist", archives / "mnist", tmp_path)
    dataset = stacked_mnist(data_dir=str(tmp_path))
    train, test = dataset.load("train"), dataset.load("test")
    assert train.images.shape == (60_000, 28, 28, 3) and test.images.shape == (26_000, 28, 28, 3)
    for split in (train, test):
        counts = np.bincount(split.labels, minlength=1000)
        assert len(counts) == 1000 and counts.min() > 0
    extractor = per_channel(
        dataset=dataset, data_dir=None, strategy=tf.distribute.OneDeviceStrategy("CPU:0")
    )
    _, logits = extractor.model.predict(normalise(test.images[:5000]), batch_size=500, verbose=0)
    accuracy = (logits.argmax(axis=1) == test.labels[:5000]).mean()
    assert accuracy > 0.98  # measured on all 26,000: 0.987, and 0.9957 cubed is that
