"""Evaluates a generator: samples and their features on all replicas, then the evaluation card."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from trainer import rng
from trainer.config.registry import configurable
from trainer.data.batches import BatchSampler, gather_batch, normalise, replicate
from trainer.data.dataset import Dataset
from trainer.errors import TrainerError
from trainer.evaluation.card import (
    Card,
    ImageFeatures,
    compute_metrics,
    memorisation,
    pair_with_real,
)
from trainer.evaluation.features.classifier import classifier
from trainer.evaluation.features.extractor import Extractor
from trainer.evaluation.metrics import classes
from trainer.evaluation.metrics.intervals import Estimate
from trainer.evaluation.metrics.manifold import DENSITY_K, Nearest, nearest

_CHUNK = 100  # images in one forward pass of a replica, whatever the number of replicas
_NUM_PAIRS = 8  # samples shown beside their nearest training image


class Evaluation(NamedTuple):
    """A card, and images to show with it."""

    card: Card
    closest: np.ndarray
    """uint8 [2 * P, H, W, C]: the P samples closest to a training image, then those images."""


class _Reference(NamedTuple):
    """The real images and their metrics, the same for every generator."""

    extractor: Extractor
    train: np.ndarray
    """uint8 [N, H, W, C], the split "train"."""
    test: ImageFeatures
    test_distances: np.ndarray
    """[M], from each test image to its nearest training image."""
    metrics: dict[str, Estimate | float]
    """Metrics of `num_samples` training images, and the memorisation of the test images."""
    num_samples: int
    """Samples to draw."""


@configurable
class Evaluator:
    """Evaluates generators of one dataset; reads the real images on first use, and only then.

    Every process of a multi-worker strategy must make the same calls; all get the same card.

    Args:
      strategy: The tf.distribute strategy of the generators.
      dataset: Has splits "train" and "test"; samples are compared with all test images.
      data_dir: Directory for the weights of a feature network that is trained on first use; None
        for TFDS's own data directory.
      seed: Seed of the samples' latents.
      num_samples: Samples to draw, at least 6; at most as many as there are training images, since
        the same number of training images gives the metrics of real images.
      features: Makes the feature network: (dataset, data_dir, strategy) -> Extractor.

    Raises:
      TrainerError: if num_samples is too small.
    """

    def __init__(
        self,
        *,
        strategy: tf.distribute.Strategy,
        dataset: Dataset,
        data_dir: str | None,
        seed: int,
        num_samples: int = 10_000,
        features: Callable[..., Extractor] = classifier,
    ) -> None:
        if num_samples <= DENSITY_K:
            raise TrainerError(f"Evaluator.num_samples={num_samples} must exceed {DENSITY_K}")
        self._strategy = strategy
        self._dataset = dataset
        self._data_dir = data_dir
        self._seed = seed
        self._num_samples = num_samples
        self._features = features
        self._reference: _Reference | None = None

    def __call__(
        self,
        generate: Callable[[tf.Tensor], tf.Tensor],
        *,
        step: int,
        images_seen: int,
        weights: str,
    ) -> Evaluation:
        """Evaluates a generator.

        Args:
          generate: Keys uint32 [B, 3] -> images [B, H, W, C] in [-1, 1], within strategy.run.
          step: The card's `step`.
          images_seen: The card's `images_seen`.
          weights: The card's `weights`.

        Raises:
          TrainerError: if a split of the dataset is too small, or its feature network is damaged or
            cannot be had.
        """
        started = time.monotonic()
        if self._reference is None:
            self._reference = self._read_reference()
        real = self._reference
        logging.info("evaluating step %d on %d samples", step, real.num_samples)

        def draw(examples: tf.Tensor) -> tf.Tensor:
            images = generate(rng.example_keys(self._seed, "evaluation", 0, examples))
            levels = tf.round((tf.cast(images, "float32") + 1.0) * 127.5)
            return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)

        fake = extract(self._strategy, real.extractor, draw, real.num_samples)
        near = nearest(fake.images, real.train)
        metrics = compute_metrics(fake, real.test)
        metrics |= memorisation(near.distance, real.test_distances)
        card = Card(
            dataset=self._dataset.spec.name,
            step=step,
            images_seen=images_seen,
            weights=weights,
            seed=self._seed,
            num_samples=real.num_samples,
            num_test=len(real.test.images),
            extractor=real.extractor.name,
            extractor_sha256=real.extractor.sha256,
            extractor_accuracy=real.extractor.accuracy,
            metrics=pair_with_real(metrics, real.metrics),
            class_counts=classes.histogram(fake.logits).tolist(),
            class_counts_real=classes.histogram(real.test.logits).tolist(),
            confidence_counts=classes.confidence_histogram(fake.logits).tolist(),
            confidence_counts_real=classes.confidence_histogram(real.test.logits).tolist(),
        )
        logging.info("evaluated step %d in %.1f s", step, time.monotonic() - started)
        return Evaluation(card, _closest(fake.images, real.train, near))

    def _read_reference(self) -> _Reference:
        train, test = (self._dataset.load(split).images for split in ("train", "test"))
        name = self._dataset.spec.name
        if min(len(train), len(test)) <= DENSITY_K:
            raise TrainerError(
                f"evaluation needs more than {DENSITY_K} images in each split of {name}, which has "
                f"{len(train)} to train on and {len(test)} to test with; use a larger dataset"
            )
        logging.info("evaluation reads the %d test images of %s first", len(test), name)
        extractor = self._features(
            dataset=self._dataset, data_dir=self._data_dir, strategy=self._strategy
        )
        num_samples = min(self._num_samples, len(train))
        some = train[BatchSampler(len(train), num_samples, 0).indices(0, 1)[0]]
        test_features = extract_from(self._strategy, extractor, test)
        test_distances = nearest(test, train).distance
        metrics = compute_metrics(extract_from(self._strategy, extractor, some), test_features)
        metrics |= memorisation(test_distances, test_distances)
        return _Reference(extractor, train, test_features, test_distances, metrics, num_samples)


def extract_from(
    strategy: tf.distribute.Strategy, extractor: Extractor, images: np.ndarray
) -> ImageFeatures:
    """The features of uint8 [N, H, W, C], computed by all replicas."""

    def read(indices: tf.Tensor, data: tuple) -> tf.Tensor:
        within = tf.minimum(indices, len(images) - 1)
        return gather_batch(data, within, images.shape[1:])[0]

    return extract(strategy, extractor, read, len(images), replicate(strategy, images))


def extract(
    strategy: tf.distribute.Strategy,
    extractor: Extractor,
    source: Callable[..., tf.Tensor],
    count: int,
    *arguments: object,
) -> ImageFeatures:
    """Images 0 to count - 1 of a source and their features, computed by all replicas.

    A replica takes _CHUNK images at a time, so that the number of replicas does not change how any
    one image is computed.

    Args:
      strategy: The tf.distribute strategy of the extractor.
      extractor: The feature network.
      source: (indices int32 [B], *arguments) -> uint8 [B, H, W, C], within strategy.run. Some
        indices may be count or more; the images returned for them are dropped.
      count: Number of images.
      *arguments: Further arguments of strategy.run, distributed values.
    """

    def on_replica(first: tf.Tensor, *arguments: object) -> list[tf.Tensor]:
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        images = source(first + replica * _CHUNK + tf.range(_CHUNK), *arguments)
        features, logits = extractor.model(normalise(images), training=False)
        # TensorFlow's collectives carry int32, but not uint8.
        return context.all_gather([tf.cast(images, tf.int32), features, logits], axis=0)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def one_round(first: tf.Tensor) -> list[tf.Tensor]:
        outputs = strategy.run(on_replica, args=(first, *arguments))
        return [strategy.experimental_local_results(output)[0] for output in outputs]

    rounds = range(0, count, _CHUNK * strategy.num_replicas_in_sync)
    parts = zip(*([y.numpy() for y in one_round(tf.constant(i))] for i in rounds), strict=True)
    images, features, logits = (np.concatenate(part)[:count] for part in parts)
    return ImageFeatures(images.astype(np.uint8), features, logits)


def _closest(images: np.ndarray, train: np.ndarray, near: Nearest) -> np.ndarray:
    """The images nearest to a training image, the nearest first, then those training images."""
    order = np.argsort(near.distance, kind="stable")[:_NUM_PAIRS]
    return np.concatenate([images[order], train[near.index[order]]])
