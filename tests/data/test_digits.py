from __future__ import annotations

import numpy as np
import sklearn.datasets

from trainer.data.digits import digits


def test_digits_has_the_interface_of_mnist():
    dataset = digits()
    assert (dataset.spec.image_shape, dataset.spec.num_classes) == ((28, 28, 1), 10)
    train, test = dataset.load("train"), dataset.load("test")
    assert train.images.shape == (1500, 28, 28, 1) and test.images.shape == (297, 28, 28, 1)
    for split in (train, test):
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
        assert set(split.labels) == set(range(10))
        assert split.images.max() == 255 and split.images.min() == 0
        assert not split.images[:, :2].any()  # the margin


def test_they_are_scikit_learns():
    source = sklearn.datasets.load_digits()
    test = digits().load("test")
    np.testing.assert_array_equal(test.labels, source.target[1500:])
    small = source.images[:1500] * 255 / 16
    large = digits().load("train").images[:, 2:-2, 2:-2, 0].reshape(-1, 8, 3, 8, 3)
    assert np.abs(large.mean(axis=(2, 4)) - small).mean() < 12
