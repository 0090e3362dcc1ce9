"""A small classifier of the dataset's own classes; its last hidden layer gives the features.

For digits, MNIST and Fashion-MNIST the package has its weights, which `scripts/train_classifier.py`
made. For any other dataset it is trained on first use, and its weights are cached in data_dir.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from trainer import files
from trainer.config.registry import configurable
from trainer.data.batches import normalise
from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.distributed import multihost
from trainer.errors import TrainerError, first_line
from trainer.evaluation.features.extractor import Extractor

VERSION = "v1"
SHIPPED = {
    "digits": "6210431dff1a1b1e4823f64ee39b56eb56a48def325870d98f6dc5597060e840",
    "mnist": "697a841d4c1bfc7b226891f4d37407aaf4c09cc76b3a61f42aea23bfaefbdc7e",
    "fashion_mnist": "ba5a6dd88b42bc6bab15bb845e10aa2180988b6b93bb2d9896ef194062e99a67",
}
"""Dataset -> sha256 of its weights in the package."""

NUM_FEATURES = 128
_WEIGHTS = Path(__file__).parent / "weights"
_BATCH_SIZE = 128
_EPOCHS = 12
_MIN_STEPS = 300
_SHIFT = 2  # pixels; the largest shift of the augmentation

Weights = dict[str, np.ndarray]


@configurable
def classifier(
    *, dataset: Dataset, data_dir: str | None, strategy: tf.distribute.Strategy
) -> Extractor:
    """The extractor for `dataset`, built in the scope of `strategy`.

    Every process of a multi-worker strategy must call it; all get the chief's weights.

    Args:
      dataset: Has splits "train" and "test", for training the classifier where the package has no
        weights.
      data_dir: Directory in whose `features/` trained weights are cached; None for TFDS's own data
        directory.
      strategy: The tf.distribute strategy of the evaluation.

    Raises:
      TrainerError: if the weights in the package or the cache are damaged.
    """
    spec = dataset.spec
    content = b""
    if multihost.is_chief(strategy):
        content = _packaged(spec.name) if spec.name in SHIPPED else _cached(dataset, data_dir)
    content = multihost.from_chief(strategy)(content)
    weights = unpack(content)
    with strategy.scope():
        model = build(spec)
        for variable in model.weights:
            variable.assign(weights[variable.path])
    digest = hashlib.sha256(content).hexdigest()
    name = f"{spec.name}-{VERSION}"
    return Extractor(model, name, digest, float(weights["test_accuracy"]))


def _packaged(name: str) -> bytes:
    path = _WEIGHTS / f"{name}-{VERSION}.npz"
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHIPPED[name]:
        raise TrainerError(
            f"{path} is damaged (sha256 {found[:12]}... where {SHIPPED[name][:12]}... was "
            "expected): install the package again"
        )
    return content


def _cached(dataset: Dataset, data_dir: str | None) -> bytes:
    """The weights in data_dir, where they are trained and written first if they are missing."""
    train = dataset.load("train")
    # Two datasets may have the same name, so the file's name holds a hash of the data.
    data = hashlib.sha256(train.images.tobytes() + train.labels.tobytes()).hexdigest()[:12]
    directory = f"{data_dir or tfds.core.constants.DATA_DIR}/features"
    path = f"{directory}/{dataset.spec.name}-{data}-{VERSION}.npz"
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
        try:
            unpack(content)
        except Exception as error:  # zipfile and NumPy raise many types
            raise TrainerError(
                f"{path} is damaged ({first_line(error)}): remove it, and it is trained again"
            ) from error
        return content
    logging.info("training a classifier of %s for its features, once", dataset.spec.name)
    content = pack(fit(dataset.spec, train, dataset.load("test")))
    tf.io.gfile.makedirs(directory)
    files.write_file(path, content)
    logging.info("cached the classifier in %s", path)
    return content


def build(spec: DatasetSpec) -> keras.Model:
    """Images [B, H, W, C] in [-1, 1] -> (features [B, 128], logits [B, num_classes]), untrained."""
    images = keras.Input(spec.image_shape, dtype="float32")
    x = images
    for i, (filters, strides) in enumerate(((32, 1), (32, 2), (64, 1), (64, 2), (NUM_FEATURES, 1))):
        x = keras.layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding="same",
            use_bias=False,
            dtype="float32",
            name=f"conv_{i}",
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, dtype="float32", name=f"norm_{i}")(x)
        x = keras.layers.ReLU(dtype="float32")(x)
    features = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = keras.layers.Dropout(0.3, dtype="float32")(features)
    logits = keras.layers.Dense(spec.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(images, (features, logits), name="classifier")


def fit(spec: DatasetSpec, train: Examples, test: Examples, verbose: int = 0) -> Weights:
    """Trains a classifier for twelve epochs of shifted images, or 300 steps if that is more.

    Args:
      spec: The dataset's image shape and number of classes.
      train: Examples to train on, at least one batch of 128.
      test: Examples to measure the accuracy on.
      verbose: Keras's: 0 for silence, 1 for a progress bar, 2 for a line per epoch.

    Returns:
      The weights by Keras's path, and "test_accuracy", in [0, 1].
    """
    keras.utils.set_random_seed(0)
    steps_per_epoch = len(train.images) // _BATCH_SIZE
    epochs = max(_EPOCHS, -(-_MIN_STEPS // steps_per_epoch))
    model = build(spec)
    learner = keras.Model(model.inputs, model.outputs[1])
    learner.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                0.0, epochs * steps_per_epoch, warmup_target=2e-3, warmup_steps=100
            )
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batches = (
        tf.data.Dataset.from_tensor_slices(tuple(train))
        .shuffle(len(train.images), seed=0)
        .map(_shifted, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_BATCH_SIZE, drop_remainder=True)
        .prefetch(2)
    )
    learner.fit(batches, epochs=epochs, shuffle=False, verbose=verbose)
    _, accuracy = learner.evaluate(
        normalise(test.images).numpy(), test.labels, batch_size=500, verbose=0
    )
    weights = {variable.path: variable.numpy() for variable in model.weights}
    return weights | {"test_accuracy": np.float32(accuracy)}


def _shifted(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Shifts an image by up to _SHIFT pixels each way; its mirror image fills the edges."""
    margins = [[_SHIFT, _SHIFT], [_SHIFT, _SHIFT], [0, 0]]
    wide = tf.pad(image, margins, "SYMMETRIC")
    return normalise(tf.image.random_crop(wide, image.shape)), label


def pack(weights: Weights) -> bytes:
    """Weights -> the content of an .npz file; equal weights give equal bytes."""
    file = io.BytesIO()
    np.savez(file, **weights)  # type: ignore[arg-type]  # no weight is called allow_pickle
    return file.getvalue()


def unpack(content: bytes) -> Weights:
    """The inverse of `pack`; it reads arrays of numbers only, and never unpickles objects."""
    with np.load(io.BytesIO(content)) as file:
        return dict(file)
