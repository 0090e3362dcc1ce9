"""How good is a generator: draws samples on all replicas, looks at them, and fills in the card."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from trainer import rng
from trainer.data.batches import BatchSampler, gather_batch, normalise, replicate
from trainer.data.dataset import Dataset
from trainer.errors import TrainerError
from trainer.evaluation.card import Card, View, as_metrics, closeness, measure
from trainer.evaluation.features.classifier import classifier
from trainer.evaluation.features.extractor import Extractor
from trainer.evaluation.metrics import classes
from trainer.evaluation.metrics.intervals import Estimate
from trainer.evaluation.metrics.manifold import DENSITY_K, Nearest, nearest

_CHUNK = 100  # images that a replica takes at a time, however many replicas there are
_PAIRS = 8


class Evaluation(NamedTuple):
    """A card, and what to look at beside it."""

    card: Card
    closest: np.ndarray
    """uint8 [2 * P, H, W, C]: the P samples closest to a training image, then those images."""


class _Real(NamedTuple):
    """What is known of the real images, whichever generator is measured."""

    extractor: Extractor
    train: np.ndarray
    test: View
    test_distances: np.ndarray
    values: dict[str, Estimate | float]
    num_samples: int


class Evaluator:
    """Measures generators of one dataset; looks at the real images once, on first use.

    Every process of a multi-worker strategy must make the same calls; all get the same card.

    Args:
      strategy: The tf.distribute strategy of the generators.
      dataset: With splits "train" and "test"; samples are compared with the whole of the latter.
      data_dir: Where a feature network is kept that does not ship with the package.
      seed: With a sample's number, it fixes the sample's latent.
      num_samples: How many to draw, but at most as many as there are training images: as many
        of those take the samples' place for what real images read.
      features: Makes the extractor from dataset, data_dir and strategy.

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
        self._real: _Real | None = None

    def __call__(
        self,
        generate: Callable[[tf.Tensor], tf.Tensor],
        *,
        step: int,
        images_seen: int,
        weights: str,
    ) -> Evaluation:
        """Measures a generator.

        Args:
          generate: Keys uint32 [B, 3] -> images [B, H, W, C] in [-1, 1], within strategy.run.
          step: For the card.
          images_seen: For the card.
          weights: For the card.
        """
        started = time.monotonic()
        if self._real is None:
            self._real = self._look_at_real()
        real = self._real
        logging.info("evaluating step %d on %d samples", step, real.num_samples)

        def draw(examples: tf.Tensor) -> tf.Tensor:
            images = generate(rng.example_keys(self._seed, "evaluation", 0, examples))
            levels = tf.round((tf.cast(images, "float32") + 1.0) * 127.5)
            return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)

        seen = view(self._strategy, real.extractor, draw, real.num_samples)
        near = nearest(seen.images, real.train)
        values = measure(seen, real.test) | closeness(near.distance, real.test_distances)
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
            metrics=as_metrics(values, real.values),
            class_counts=classes.histogram(seen.logits).tolist(),
            class_counts_real=classes.histogram(real.test.logits).tolist(),
            confidence_counts=classes.confidence_histogram(seen.logits).tolist(),
            confidence_counts_real=classes.confidence_histogram(real.test.logits).tolist(),
        )
        logging.info("evaluated step %d in %.1f s", step, time.monotonic() - started)
        return Evaluation(card, _closest(seen.images, real.train, near))

    def _look_at_real(self) -> _Real:
        train, test = (self._dataset.load(split).images for split in ("train", "test"))
        name = self._dataset.spec.name
        if min(len(train), len(test)) <= DENSITY_K:
            raise TrainerError(f"evaluation needs more than {DENSITY_K} images a split of {name}")
        logging.info("evaluation looks at the %d test images of %s first", len(test), name)
        extractor = self._features(
            dataset=self._dataset, data_dir=self._data_dir, strategy=self._strategy
        )
        num_samples = min(self._num_samples, len(train))
        some = train[BatchSampler(len(train), num_samples, 0).indices(0, 1)[0]]
        test_view = self._look_at(extractor, test)
        test_distances = nearest(test, train).distance
        values = measure(self._look_at(extractor, some), test_view)
        values |= closeness(test_distances, test_distances)
        return _Real(extractor, train, test_view, test_distances, values, num_samples)

    def _look_at(self, extractor: Extractor, images: np.ndarray) -> View:
        def read(numbers: tf.Tensor, on_device: tf.Tensor) -> tf.Tensor:
            return gather_batch(on_device, tf.minimum(numbers, len(images) - 1), images.shape[1:])[
                0
            ]

        return view(self._strategy, extractor, read, len(images), replicate(self._strategy, images))


def view(
    strategy: tf.distribute.Strategy,
    extractor: Extractor,
    source: Callable[..., tf.Tensor],
    count: int,
    *arguments: object,
) -> View:
    """What the extractor sees of images 0 to count - 1, computed by all replicas.

    A replica takes _CHUNK images at a time, so that each image is computed in the same way
    whatever the number of replicas.

    Args:
      strategy: The tf.distribute strategy of the extractor.
      extractor: The feature network.
      source: (numbers int32 [B], *arguments) -> uint8 [B, H, W, C], within strategy.run; it is
        asked for some numbers past the last, too.
      count: How many images.
      *arguments: Of strategy.run, one value a replica.
    """

    def on_replica(first: tf.Tensor, *arguments: object) -> list[tf.Tensor]:
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        images = source(first + replica * _CHUNK + tf.range(_CHUNK), *arguments)
        features, logits = extractor.model(normalise(images), training=False)
        # Collectives know int32, but not uint8.
        return context.all_gather([tf.cast(images, tf.int32), features, logits], axis=0)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def one_round(first: tf.Tensor) -> list[tf.Tensor]:
        outputs = strategy.run(on_replica, args=(first, *arguments))
        return [strategy.experimental_local_results(output)[0] for output in outputs]

    rounds = range(0, count, _CHUNK * strategy.num_replicas_in_sync)
    parts = zip(*([y.numpy() for y in one_round(tf.constant(i))] for i in rounds), strict=True)
    images, features, logits = (np.concatenate(part)[:count] for part in parts)
    return View(images.astype(np.uint8), features, logits)


def _closest(images: np.ndarray, train: np.ndarray, near: Nearest) -> np.ndarray:
    order = np.argsort(near.distance, kind="stable")[:_PAIRS]
    return np.concatenate([images[order], train[near.index[order]]])
