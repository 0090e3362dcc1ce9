"""Replays earlier fakes to the discriminator, beside those of the current generator.

A replay takes part in the discriminator's updates only. Its methods are called within strategy.run,
`mix` inside a `trainer.rng.key_scope` of one key per example. Its variables are equal on all
replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from trainer import rng
from trainer.config.registry import configurable
from trainer.errors import TrainerError
from trainer.gan.networks import Networks

Gather = Callable[[tf.Tensor, int], tf.Tensor]
"""(this replica's part [b, ...] of a batch, n) -> the first n of the global batch, [n, ...]."""


class Replay:
    """Base class; it replays nothing itself.

    Constructors take the run's networks and (H, W, C), the shape of its images.
    """

    variables: Sequence[tf.Variable] = ()
    """State for the checkpoint."""

    def mix(self, fake: tf.Tensor, generate: Callable[[keras.Model], tf.Tensor]) -> tf.Tensor:
        """Replaces some of the current generator's fakes by earlier ones; returns [b, H, W, C].

        Args:
          fake: [b, H, W, C], this replica's fakes.
          generate: Another generator -> its images [b, H, W, C] from the same latents.
        """
        return fake

    def push(
        self, fake: tf.Tensor, generator: keras.Model, step: tf.Tensor, gather: Gather
    ) -> None:
        """Called at the end of each step, to remember it.

        Args:
          fake: [b, H, W, C], this replica's fakes of the current generator, before `mix`.
          generator: The current generator, after its update.
          step: int64 scalar, the number of steps done before this one.
          gather: Collects the first examples of the global batch on every replica.
        """


@configurable
class ImagePool(Replay):
    """A buffer of earlier fakes, which are replayed at random (Shrivastava et al., 2017, 2.3).

    Every step replaces the oldest images of the buffer by some of its own fakes. While the buffer
    is not full, draws of its empty places leave the current fakes as they are.

    Args:
      share: Fraction of a batch's fakes to draw from the buffer, in (0, 1).
      size: Number of images in the buffer, a multiple of each_step.
      each_step: Number of images that each step adds, at least 1 and at most the batch size.

    Raises:
      TrainerError: if a number is out of range, or the networks are conditional.
    """

    def __init__(
        self,
        networks: Networks,
        image_shape: tuple[int, int, int],
        *,
        share: float = 0.5,
        size: int = 1024,
        each_step: int = 4,
    ) -> None:
        _check_share("ImagePool", share)
        if networks.conditional:
            raise TrainerError(
                "ImagePool keeps images without the labels that a conditional discriminator needs; "
                "use replay.PastGenerator, as hacks/past_generator.gin does"
            )
        if each_step < 1 or size % each_step:
            raise TrainerError(
                f"ImagePool.size={size} must be a multiple of each_step={each_step}, which must be "
                "at least 1"
            )
        self._share = share
        self._size = size
        self._each_step = each_step
        shape = (size // each_step, each_step, *image_shape)
        self._images = keras.Variable(tf.zeros(shape, networks.dtype), trainable=False)
        self._count = keras.Variable(0, trainable=False, dtype="int64")
        self.variables = (self._images.value, self._count.value)

    def mix(self, fake: tf.Tensor, generate: Callable[[keras.Model], tf.Tensor]) -> tf.Tensor:
        draws = rng.uniform(rng.next_keys("replay"), [2])
        indices = tf.cast(tf.floor(draws[:, 0] * self._size), tf.int64)
        buffer = tf.reshape(self._images.value, (self._size, *fake.shape[1:]))
        earlier = tf.gather(buffer, indices)
        replayed = (draws[:, 1] < self._share) & (indices < self._count.value)
        return tf.where(tf.reshape(replayed, [-1, 1, 1, 1]), earlier, fake)

    def push(
        self, fake: tf.Tensor, generator: keras.Model, step: tf.Tensor, gather: Gather
    ) -> None:
        new = gather(fake, self._each_step)
        rows = self._size // self._each_step
        oldest = tf.equal(tf.range(rows, dtype=tf.int64), step % rows)
        oldest = tf.reshape(oldest, [-1, 1, 1, 1, 1])
        self._images.assign(tf.where(oldest, new[tf.newaxis], self._images.value))
        self._count.assign(tf.minimum((step + 1) * self._each_step, self._size))


@configurable
class PastGenerator(Replay):
    """A copy of an earlier generator makes some of the fakes (ganhacks, hack 8).

    Args:
      share: Fraction of a batch's fakes that the copy makes, in (0, 1).
      period: Number of steps between copies, at least 1.

    Raises:
      TrainerError: if a number is out of range.
    """

    def __init__(
        self,
        networks: Networks,
        image_shape: tuple[int, int, int],
        *,
        share: float = 0.25,
        period: int = 500,
    ) -> None:
        _check_share("PastGenerator", share)
        if period < 1:
            raise TrainerError(f"PastGenerator.period={period} must be at least 1")
        self._share = share
        self._period = period
        self._past = networks.build_generator()
        self.variables = tuple(variable.value for variable in self._past.variables)

    def mix(self, fake: tf.Tensor, generate: Callable[[keras.Model], tf.Tensor]) -> tf.Tensor:
        replayed = rng.uniform(rng.next_keys("past"), [1, 1, 1]) < self._share
        return tf.where(replayed, generate(self._past), fake)

    def push(
        self, fake: tf.Tensor, generator: keras.Model, step: tf.Tensor, gather: Gather
    ) -> None:
        due = tf.equal(step % self._period, 0)
        for past, current in zip(self._past.variables, generator.variables, strict=True):
            past.assign(tf.where(due, current.value, past.value))


def _check_share(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise TrainerError(f"{name}.share={share} must be in (0, 1)")
