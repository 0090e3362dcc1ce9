"""The networks in inference mode, on every replica: samples and the discriminator's logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer import rng
from trainer.gan.networks import Networks


class Inference:
    """Samples from `Networks.generator_ema`, and evaluates the discriminator.

    In a multi-worker run, every process must make the same calls of `sample` and `discriminate`: a
    program that only one process runs leaves the others waiting in their next step.

    Args:
      strategy: The strategy in whose scope the networks were built.
      networks: The networks.
      seed: The run's seed, in [0, 2**32), from which latents are drawn.
      class_counts: int [K], how often each class occurs in the training images; None if the
        networks are unconditional.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        networks: Networks,
        seed: int,
        class_counts: np.ndarray | None,
    ) -> None:
        self._strategy = strategy
        self._networks = networks
        self._seed = seed
        self._class_ends = None
        if class_counts is not None:
            shares = np.cumsum(class_counts) / class_counts.sum()
            self._class_ends = shares.astype(np.float32)
        # Traced anew for each batch size: TPUs need static shapes.
        self._compiled_sample = tf.function(self._sample, autograph=False)
        self._compiled_discriminate = tf.function(self._discriminate, autograph=False)

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None if unconditional."""
        return None if self._class_ends is None else len(self._class_ends)

    def latents(self, count: int, seed: int | None = None) -> tf.Tensor:
        """Latents [count, Z], the same at every step and in every run of the seed.

        Args:
          count: Number of latents.
          seed: Seed in [0, 2**32); None for the run's own.
        """
        keys = self._keys(tf.range(count), self._seed if seed is None else seed)
        return self._networks.draw_latents(keys)

    def labels(
        self, count: int, *, first: int = 0, choices: Sequence[int] = ()
    ) -> np.ndarray | None:
        """Labels int32 [count] for samples, one class after the other; None if unconditional.

        Args:
          count: Number of labels.
          first: Index of the first sample, from 0.
          choices: Labels to cycle through; empty for all classes.
        """
        if self.num_classes is None:
            return None
        cycle = np.array(choices or range(self.num_classes), np.int32)
        return cycle[np.arange(first, first + count) % len(cycle)]

    def sample(
        self, latents: tf.Tensor, labels: np.ndarray | None = None, first: int = 0
    ) -> np.ndarray:
        """Images [B, H, W, C] in [-1, 1].

        Args:
          latents: [B, Z].
          labels: int32 [B] for a conditional generator; None for those of `labels`.
          first: Index of the first sample, from 0; noise layers of the generator depend on it.
        """
        labels = self.labels(len(latents), first=first) if labels is None else labels
        labels = None if labels is None else tf.constant(labels)
        return self._compiled_sample(latents, labels, tf.constant(first)).numpy()

    def discriminate(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """The discriminator's logits [B], without augmentations; no state changes.

        Args:
          images: [B, H, W, C] in [-1, 1].
          labels: int32 [B] for a conditional discriminator; None for those of `labels`.
        """
        labels = self.labels(len(images)) if labels is None else labels
        labels = None if labels is None else tf.constant(labels)
        return self._compiled_discriminate(
            tf.constant(images, self._networks.dtype), labels
        ).numpy()

    def generate(self, keys: tf.Tensor) -> tf.Tensor:
        """Keys uint32 [B, 3] -> images [B, H, W, C] in [-1, 1]; call it within strategy.run.

        For a conditional generator, the classes have the frequencies of the training images.
        """
        labels = None
        if self._class_ends is not None:
            draws = rng.uniform(rng.fold(keys, 0), [1])
            labels = tf.reduce_sum(tf.cast(draws >= self._class_ends[:-1], tf.int32), axis=1)
        return self._generate(self._networks.draw_latents(keys), labels, rng.fold(keys, 1))

    def _sample(self, latents: tf.Tensor, labels: tf.Tensor | None, first: tf.Tensor) -> tf.Tensor:
        # Every replica makes all images: they are few, and this needs no gather.
        examples = first + tf.range(latents.shape[0])
        arguments = (latents, labels, rng.fold(self._keys(examples, self._seed), 0))
        images = self._strategy.run(self._generate, args=arguments)
        return self._strategy.experimental_local_results(images)[0]

    def _discriminate(self, images: tf.Tensor, labels: tf.Tensor | None) -> tf.Tensor:
        def logits() -> tf.Tensor:
            # A copy on the replica's own device, where conversions of it are made too.
            local = tf.identity(images)
            return self._networks.discriminate(local, labels, training=False).logits[:, 0]

        return self._strategy.experimental_local_results(self._strategy.run(logits))[0]

    def _generate(self, latents: tf.Tensor, labels: tf.Tensor | None, keys: tf.Tensor) -> tf.Tensor:
        with rng.key_scope(keys):
            model = self._networks.generator_ema
            return self._networks.generate(model, latents, labels, training=False)

    def _keys(self, examples: tf.Tensor, seed: int) -> tf.Tensor:
        return rng.example_keys(seed, "samples", 0, examples)
