"""Replay from the past, beside the generator of the day, for the discriminator to learn from.

Such a memory takes part in the discriminator's step only. It is called within strategy.run, inside
a `trainer.rng.key_scope` of one key an example, and its variables are the same on every replica.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from trainer import rng
from trainer.errors import TrainerError
from trainer.gan.networks import Networks

Gather = Callable[[tf.Tensor, int], tf.Tensor]
"""(this replica's part [b, ...], n) -> the global batch's first n [n, ...], on every replica."""


class Replay:
    """Shows what it is given: the interface. Constructors take a run's networks and image shape."""

    variables: Sequence[tf.Variable] = ()
    """State, for the checkpoint."""

    def mix(self, fake: tf.Tensor, generate: Callable[[keras.Model], tf.Tensor]) -> tf.Tensor:
        """Puts fakes of the past in the place of some of today's.

        Args:
          fake: [b, H, W, C], the generator's.
          generate: A generator's images from the same latents: -> [b, H, W, C].
        """
        return fake

    def push(
        self, fake: tf.Tensor, generator: keras.Model, step: tf.Tensor, gather: Gather
    ) -> None:
        """After the step: fakes of this replica, and the generator that made them."""


class ImagePool(Replay):
    """A buffer of past fakes, drawn from with equal chances (Shrivastava et al., 2017, 2.3).

    Every step writes some of its fakes over the oldest ones. Until the buffer is full, today's
    fakes stand in for what it lacks.

    Args:
      share: Of a batch's fakes that come from the buffer, in (0, 1).
      size: Of the buffer, in images.
      each_step: Images that a step adds, at most the batch size.

    Raises:
      TrainerError: if a number is out of range.
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
                "use replay.PastGenerator"
            )
        if each_step < 1 or size % each_step:
            raise TrainerError(
                f"ImagePool.size={size} must be a multiple of each_step={each_step}, at least 1"
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
        slots = tf.cast(tf.floor(draws[:, 0] * self._size), tf.int64)
        buffer = tf.reshape(self._images.value, (self._size, *fake.shape[1:]))
        past = tf.gather(buffer, slots)
        old = (draws[:, 1] < self._share) & (slots < self._count.value)
        return tf.where(tf.reshape(old, [-1, 1, 1, 1]), past, fake)

    def push(
        self, fake: tf.Tensor, generator: keras.Model, step: tf.Tensor, gather: Gather
    ) -> None:
        new = gather(fake, self._each_step)
        rows = self._size // self._each_step
        oldest = tf.equal(tf.range(rows, dtype=tf.int64), step % rows)
        oldest = tf.reshape(oldest, [-1, 1, 1, 1, 1])
        self._images.assign(tf.where(oldest, new[tf.newaxis], self._images.value))
        self._count.assign(tf.minimum((step + 1) * self._each_step, self._size))


class PastGenerator(Replay):
    """A copy of the generator of some time ago makes some of the fakes (ganhacks, hack 8).

    Args:
      share: Of a batch's fakes that the past generator makes, in (0, 1).
      period: Steps between copies.

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
        old = rng.uniform(rng.next_keys("past"), [1, 1, 1]) < self._share
        return tf.where(old, generate(self._past), fake)

    def push(
        self, fake: tf.Tensor, generator: keras.Model, step: tf.Tensor, gather: Gather
    ) -> None:
        due = tf.equal(step % self._period, 0)
        for past, today in zip(self._past.variables, generator.variables, strict=True):
            past.assign(tf.where(due, today.value, past.value))


def _check_share(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise TrainerError(f"{name}.share={share} must lie in (0, 1)")
