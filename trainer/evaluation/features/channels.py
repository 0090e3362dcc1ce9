"""The feature network of stacked MNIST: MNIST's classifier on each channel of a colour image."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.config.registry import configurable
from trainer.data import tfds_source
from trainer.data.dataset import Dataset
from trainer.errors import TrainerError
from trainer.evaluation.features.classifier import classifier
from trainer.evaluation.features.extractor import Extractor

_SHAPE, _NUM_CLASSES = (28, 28, 3), 1000


@configurable
def per_channel(
    *, dataset: Dataset, data_dir: str | None, strategy: tf.distribute.Strategy
) -> Extractor:
    """The extractor for images of three digits, built in the scope of `strategy`.

    Its accuracy is None: it was trained for single digits, and is not measured on triples. Every
    process of a multi-worker strategy must call it; all get the chief's weights.

    Args:
      dataset: Has images of 28x28 pixels in RGB, and 1,000 classes.
      data_dir: Directory of prepared datasets; nothing is read there, since the weights are in the
        package.
      strategy: The tf.distribute strategy of the evaluation.

    Raises:
      TrainerError: if the dataset has other images or classes, or the weights are damaged.
    """
    spec = dataset.spec
    if (tuple(spec.image_shape), spec.num_classes) != (_SHAPE, _NUM_CLASSES):
        raise TrainerError(
            f"channels.per_channel is for images of {_SHAPE} and {_NUM_CLASSES} classes, but "
            f"{spec.name} has {tuple(spec.image_shape)} and {spec.num_classes}; leave "
            "Evaluator.features at its default"
        )
    digit = classifier(
        dataset=tfds_source.mnist(data_dir=data_dir), data_dir=data_dir, strategy=strategy
    )
    with strategy.scope():
        model = build(digit.model)
    return Extractor(model, f"{digit.name} per channel", digit.sha256, accuracy=None)


def build(digit: keras.Model) -> keras.Model:
    """Applies a classifier of digits to three channels.

    Args:
      digit: Images [B, H, W, 1] in [-1, 1] -> (features [B, D], logits [B, 10]).

    Returns:
      Images [B, H, W, 3] in [-1, 1] -> (features [B, 3 D], logits [B, 1000]). The features are
      red's, green's and blue's, in this order. The logit of class 100 R + 10 G + B is the logarithm
      of the product of the three digits' probabilities.
    """
    images = keras.Input((*digit.input_shape[1:3], 3), dtype="float32")
    features, logits = zip(*(digit(images[..., c : c + 1]) for c in range(3)), strict=True)
    red, green, blue = (keras.ops.log_softmax(channel) for channel in logits)
    triples = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
    triples = keras.ops.reshape(triples, (-1, _NUM_CLASSES))
    features = keras.ops.concatenate(features, axis=1)
    return keras.Model(images, (features, triples), name="per_channel")
