"""Keras's InceptionV3, trained on ImageNet, as a feature network for colour datasets.

Its FID cannot be compared with published ones, which use another InceptionV3's weights.
"""

from __future__ import annotations

import hashlib

import keras
import tensorflow as tf

from trainer.config.registry import configurable
from trainer.data.dataset import Dataset
from trainer.errors import TrainerError, first_line
from trainer.evaluation.features.extractor import Extractor

_SIZE = 299


@configurable
def inception(
    *, dataset: Dataset, data_dir: str | None, strategy: tf.distribute.Strategy
) -> Extractor:
    """The extractor of 2,048 features and ImageNet's 1,000 logits, for images enlarged to 299x299.

    Args:
      dataset: Its spec gives the image shape.
      data_dir: Ignored: Keras keeps the weights (96 MB) in its own directory, ~/.keras.
      strategy: The tf.distribute strategy of the evaluation, in whose scope it is built.

    Raises:
      TrainerError: if the weights are neither there nor can be downloaded.
    """
    del data_dir
    with strategy.scope():
        try:
            network = keras.applications.InceptionV3(weights="imagenet", classifier_activation=None)
        except Exception as error:  # Keras raises a plain Exception if a download fails
            raise TrainerError(
                f"InceptionV3's weights are not in ~/.keras/models and cannot be downloaded "
                f"({first_line(error)}): run once on a connected machine and copy that directory, "
                "or leave Evaluator.features at its default"
            ) from error
        model = build(network, dataset.spec.image_shape)
    digest = hashlib.sha256()
    for variable in network.weights:
        digest.update(variable.numpy().tobytes())
    return Extractor(model, "inception-v3-keras", digest.hexdigest(), accuracy=None)


def build(network: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """Images [B, H, W, 1 or 3] in [-1, 1] -> (features [B, 2048], logits [B, 1000])."""
    images = keras.Input(image_shape, dtype="float32")
    x = keras.layers.Resizing(_SIZE, _SIZE, dtype="float32")(images)
    if image_shape[-1] == 1:
        x = keras.layers.Concatenate(dtype="float32")([x, x, x])
    heads = keras.Model(network.inputs, (network.get_layer("avg_pool").output, network.output))
    return keras.Model(images, heads(x), name="inception")
