"""Tests download no weights of ImageNet: the network has random weights, or finds none."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.data.digits import digits
from trainer.errors import TrainerError
from trainer.evaluation.features import inception


@pytest.mark.parametrize("channels", [1, 3])
def test_features_and_logits_of_grey_and_colour(channels):
    network = keras.applications.InceptionV3(weights=None, classifier_activation=None)
    model = inception.build(network, (28, 28, channels))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 28, 28, channels))
    features, logits = model(images.astype(np.float32), training=False)
    assert features.shape == (2, 2048) and logits.shape == (2, 1000)
    assert logits.numpy().min() < 0  # not probabilities
    head = network.get_layer("predictions")
    np.testing.assert_allclose(head(features), logits, rtol=1e-3, atol=1e-5)


def test_without_weights_it_names_the_remedy(monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    # No network is tried and no earlier download is found, wherever the tests run.
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr(keras.config, "_KERAS_DIR", str(tmp_path), raising=False)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path), raising=False)
    with pytest.raises(TrainerError, match=r"cannot be downloaded \(.*\): run once on a connected"):
        inception.inception(
            dataset=digits(), data_dir=None, strategy=tf.distribute.OneDeviceStrategy("CPU:0")
        )
