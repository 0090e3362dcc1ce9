"""Every random number of training, as a pure function of (seed, stream, step, example).

Latents, dropout, augmentation and label noise, that is. The initial weights are Keras's, from the
seed (`gan/trainer.py`), and the order of the batches is a function of (seed, epoch)
(`data/batches.py`).

The generator is a counter-based hash, pcg4d (Jarzynski and Olano, "Hash Functions for GPU
Rendering", Journal of Computer Graphics Techniques 9(3), 2020), written in uint32 operations.
There is no state to save, and an example draws the same numbers whichever replica, process or
kind of device computes it: integer arithmetic has no rounding to differ in.

A *key* is uint32 [B, 3], a row for each example. `example_keys` makes keys, `bits`, `uniform` and
`normal` turn them into numbers, and `fold` derives independent ones.

Layers that need randomness (`trainer.models.layers.Dropout`) take their keys from the enclosing
`key_scope`, just as `tf.GradientTape` sees the operations inside its block.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import math
import zlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

_MULTIPLIER = 1664525  # both from Numerical Recipes' LCG, the first step of pcg4d
_INCREMENT = 1013904223
_VECTOR = 16  # float32 values in the widest CPU vector


def _u32(value) -> tf.Tensor:
    if isinstance(value, int):
        return tf.constant(value % 2**32, tf.uint32)
    return tf.cast(value, tf.uint32)


def _pcg4d(x, y, z, w) -> tuple[tf.Tensor, ...]:
    """Mixes four broadcastable uint32 tensors into four independent-looking ones."""
    multiplier, increment, shift = _u32(_MULTIPLIER), _u32(_INCREMENT), _u32(16)
    words = [_u32(v) * multiplier + increment for v in (x, y, z, w)]
    for last_round in (False, True):
        x, y, z, w = words
        x += y * w
        y += z * x
        z += x * y
        w += y * z
        words = [x, y, z, w]
        if not last_round:
            words = [tf.bitwise.bitwise_xor(v, tf.bitwise.right_shift(v, shift)) for v in words]
    return tuple(words)


def example_keys(seed: int, stream: str, step, examples) -> tf.Tensor:
    """Keys of the given examples.

    Args:
      seed: The run's seed, 0 <= seed < 2**32.
      stream: Purpose of the numbers, such as "latents"; different streams are independent.
      step: Scalar integer, the training step.
      examples: Integer [B], positions in the global batch.

    Returns:
      uint32 [B, 3].
    """
    examples = tf.convert_to_tensor(examples)
    stream_id = zlib.crc32(stream.encode())
    return tf.stack(_pcg4d(seed, stream_id, step, examples)[:3], axis=-1)


def reseed(seed: int, stream: int) -> int:
    """The seed of noise stream `stream` of a run, in [0, 2**32); stream 0 has `seed` itself."""
    return zlib.crc32(f"{seed}, stream {stream}".encode()) if stream else seed


def fold(keys: tf.Tensor, number: int) -> tf.Tensor:
    """Keys uint32 [B, 3] that are independent of `keys` and of other numbers' folds."""
    x, y, z = tf.unstack(keys, axis=-1)
    return tf.stack(_pcg4d(x, y, z, number)[:3], axis=-1)


def bits(keys: tf.Tensor, count: int) -> tf.Tensor:
    """uint32 [B, count]: `count` words of uniform bits for each key."""
    counters = tf.range(math.ceil(count / 4), dtype=tf.int32)[tf.newaxis]
    x, y, z = (keys[:, i : i + 1] for i in range(3))
    return tf.concat(_pcg4d(x, y, z, counters), axis=-1)[:, :count]


def uniform(keys: tf.Tensor, shape: Sequence[int], dtype: str = "float32") -> tf.Tensor:
    """[B, *shape], uniform in [0, 1), on a grid of 2**-24."""
    shape = tuple(shape)
    words = bits(keys, math.prod(shape))
    # float32 holds 24 bits exactly, so that no value rounds up to 1.
    fraction = tf.cast(tf.bitwise.right_shift(words, _u32(8)), dtype) * 2.0**-24
    return tf.reshape(fraction, (-1, *shape))


def normal(keys: tf.Tensor, shape: Sequence[int], dtype: str = "float32") -> tf.Tensor:
    """[B, *shape], standard normal by the Box-Muller transform; |x| < 5.8."""
    shape = tuple(shape)
    size = math.prod(shape)
    # Vector code rounds log and cos differently from the scalar code for the rest of a row. Rows of
    # whole vectors give an example the same numbers in a batch of any size.
    half = _VECTOR * math.ceil(size / (2 * _VECTOR))
    u = uniform(keys, (2, half), dtype)
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - u[:, 0]))  # 1 - u lies in (0, 1]
    angle = 2.0 * math.pi * u[:, 1]
    pairs = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=-1)
    return tf.reshape(pairs[:, :size], (-1, *shape))


def keep_mask(keys: tf.Tensor, shape: Sequence[int], drop_threshold: int) -> tf.Tensor:
    """bool [B, *shape]: False with probability drop_threshold / 2**16."""
    shape = tuple(shape)
    size = math.prod(shape)
    halves = tf.bitcast(bits(keys, math.ceil(size / 2)), tf.uint16)
    halves = tf.reshape(halves, (-1, 2 * math.ceil(size / 2)))[:, :size]
    return tf.reshape(halves >= tf.constant(drop_threshold, tf.uint16), (-1, *shape))


_scope: contextvars.ContextVar[Iterator[tf.Tensor] | None] = contextvars.ContextVar(
    "key_scope", default=None
)


@contextlib.contextmanager
def key_scope(keys: tf.Tensor) -> Iterator[None]:
    """Gives each random layer that is called in the block its own keys, folded from `keys`.

    The folds are numbered in the order of the calls, so call a model only once in a scope. Replicas
    are traced in separate threads, and each sees only its own scope.
    """
    token = _scope.set(fold(keys, number) for number in itertools.count())
    try:
        yield
    finally:
        _scope.reset(token)


def next_keys(layer: str) -> tf.Tensor:
    """The keys uint32 [B, 3] for the layer being called.

    Raises:
      RuntimeError: if called outside a key_scope.
    """
    folds = _scope.get()
    if folds is None:
        raise RuntimeError(
            f"layer '{layer}' needs random numbers in training mode: call the model inside "
            "`with trainer.rng.key_scope(keys):`"
        )
    return next(folds)
