"""The networks in inference mode, on every replica: samples, and the discriminator's logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer import rng
from trainer.gan.networks import Networks


class Inference:
    """Draws from the generator's average, or from the generator itself where there is none.

    Args:
      strategy: The strategy in whose scope the networks were built.
      networks: The networks.
      seed: Seed of the fixed latents.
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
        # Traced anew for each batch size, which TPUs must know.
        self._compiled_sample = tf.function(self._sample)
        self._compiled_discriminate = tf.function(self._discriminate)

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None if unconditional."""
        return None if self._class_ends is None else len(self._class_ends)

    def latents(self, count: int, seed: int | None = None) -> tf.Tensor:
        """[count, Z]: fixed latents, the same at every step and in every run of the seed.

        Args:
          count: Number of latents.
          seed: In [0, 2**32); None for the run's own.
        """
        keys = self._keys(tf.range(count), self._seed if seed is None else seed)
        return self._networks.draw_latents(keys)

    def labels(
        self, count: int, *, first: int = 0, choices: Sequence[int] = ()
    ) -> np.ndarray | None:
        """int32 [count], the labels of samples number `first` on; None if unconditional.

        Args:
          count: Number of labels.
          first: Number of the first sample.
          choices: Labels to take in turn; empty for every class.
        """
        if self.num_classes is None:
            return None
        cycle = np.array(choices or range(self.num_classes), np.int32)
        return cycle[np.arange(first, first + count) % len(cycle)]

    def sample(
        self, latents: tf.Tensor, labels: np.ndarray | None = None, first: int = 0
    ) -> np.ndarray:
        """Images [B, H, W, C] in [-1, 1].

        Every process of a multi-worker strategy must call it: a process that ran a program of its
        own would leave the others waiting in their next step.

        Args:
          latents: [B, Z].
          labels: int32 [B], for a conditional generator; None for every class in turn.
          first: Number of the first sample, which noise layers in the generator depend on.
        """
        labels = self.labels(len(latents), first=first) if labels is None else labels
        labels = None if labels is None else tf.constant(labels)
        return self._compiled_sample(latents, labels, tf.constant(first)).numpy()

    def discriminate(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """The discriminator's logits [B] for images [B, H, W, C] in [-1, 1].

        Without augmentations; no state changes. Every process must call it.

        Args:
          images: [B, H, W, C] in [-1, 1].
          labels: int32 [B], for a conditional discriminator; None for every class in turn, as in
            what `sample` returns.
        """
        labels = self.labels(len(images)) if labels is None else labels
        labels = None if labels is None else tf.constant(labels)
        return self._compiled_discriminate(
            tf.constant(images, self._networks.dtype), labels
        ).numpy()

    def generate(self, keys: tf.Tensor) -> tf.Tensor:
        """Keys uint32 [B, 3] -> images [B, H, W, C] in [-1, 1]; call it within strategy.run.

        A conditional generator draws classes with the frequencies of the training images.
        """
        labels = None
        if self._class_ends is not None:
            place = rng.uniform(rng.fold(keys, 0), [])
            labels = tf.reduce_sum(
                tf.cast(place[:, tf.newaxis] >= self._class_ends[:-1], tf.int32), 1
            )
        return self._generate(self._networks.draw_latents(keys), labels, rng.fold(keys, 1))

    def _sample(self, latents: tf.Tensor, labels: tf.Tensor | None, first: tf.Tensor) -> tf.Tensor:
        # Each replica makes all of them: they are few, and need no gather.
        examples = first + tf.range(latents.shape[0])
        arguments = (latents, labels, rng.fold(self._keys(examples, self._seed), 0))
        images = self._strategy.run(self._generate, args=arguments)
        return self._strategy.experimental_local_results(images)[0]

    def _discriminate(self, images: tf.Tensor, labels: tf.Tensor | None) -> tf.Tensor:
        def logits() -> tf.Tensor:
            # A copy on the replica's own device: a conversion made there stays there.
            here = tf.identity(images)
            return self._networks.discriminate(here, labels, training=False).logits[:, 0]

        return self._strategy.experimental_local_results(self._strategy.run(logits))[0]

    def _generate(self, latents: tf.Tensor, labels: tf.Tensor | None, keys: tf.Tensor) -> tf.Tensor:
        with rng.key_scope(keys):
            model = self._networks.generator_ema
            return self._networks.generate(model, latents, labels, training=False)

    def _keys(self, examples: tf.Tensor, seed: int) -> tf.Tensor:
        return rng.example_keys(seed, "samples", 0, examples)
