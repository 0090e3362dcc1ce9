"""From a split in memory to the batches of each step, with no iterator state.

The images live on every device as uint8, and a step gathers its batch there: which examples is a
pure function of (seed, step), so that resuming at any step needs nothing but the step.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from trainer.errors import TrainerError

_ALIGNMENT = 64  # bytes; Eigen's largest


def normalise(images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
    """uint8 [..., C] in [0, 255] -> [-1, 1]."""
    return tf.cast(images, dtype) / 127.5 - 1.0


def denormalise(images: np.ndarray) -> np.ndarray:
    """[..., C] in [-1, 1] -> uint8 in [0, 255]; values outside are clipped."""
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


class BatchSampler:
    """Which examples make up the batch of each step.

    Every epoch is a fresh permutation of the dataset, cut into whole batches; the remainder,
    fewer than a batch, is left out, as the tutorial's notebook leaves it.

    Args:
      num_examples: Size of the dataset.
      batch_size: Global batch size, at most num_examples.
      seed: The run's seed, 0 <= seed < 2**32.

    Raises:
      TrainerError: if the dataset does not fill one batch.
    """

    def __init__(self, num_examples: int, batch_size: int, seed: int) -> None:
        if batch_size > num_examples:
            raise TrainerError(
                f"train.batch_size={batch_size} is more than the dataset's {num_examples} "
                "examples; choose a smaller one"
            )
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.steps_per_epoch = num_examples // batch_size
        self._seed = seed
        self._epoch = functools.lru_cache(maxsize=2)(self._permutation)

    def indices(self, step: int, num_steps: int) -> np.ndarray:
        """int32 [num_steps, batch_size]: the examples of steps step, step + 1, ..."""
        rows = []
        for s in range(step, step + num_steps):
            epoch, position = divmod(s, self.steps_per_epoch)
            start = position * self.batch_size
            rows.append(self._epoch(epoch)[start : start + self.batch_size])
        return np.stack(rows)

    def _permutation(self, epoch: int) -> np.ndarray:
        # The bit generator's stream is fixed by its definition (Philox4x64-10, Salmon et al.,
        # 2011); NumPy's shuffling methods may change between releases, sorting does not.
        words = np.random.Philox(key=[self._seed, epoch]).random_raw(self.num_examples)
        return np.argsort(words, kind="stable").astype(np.int32)


def per_replica_batch_size(batch_size: int, num_replicas: int) -> int:
    """Each replica's part of the global batch.

    Raises:
      TrainerError: if the batch cannot be shared evenly.
    """
    if batch_size < 1 or batch_size % num_replicas:
        below = batch_size // num_replicas * num_replicas
        nearest = [str(size) for size in (below, below + num_replicas) if size > 0]
        raise TrainerError(
            f"train.batch_size={batch_size} cannot be shared evenly by {num_replicas} replicas; "
            f"the nearest sizes that can: {', '.join(nearest)}"
        )
    return batch_size // num_replicas


def replicate(
    strategy: tf.distribute.Strategy, images: np.ndarray, labels: np.ndarray | None = None
) -> tuple:
    """uint8 [N, H, W, C], and int32 [N] -> data for `gather_batch`, on each of this process's replicas.

    The first replica may share the arrays' memory, so that nothing may write to them any more.

    The data is an argument for strategy.run. It is in variables, which stay on their device: the
    value of a tensor might go through the host again in every step of a loop that a TPU's host
    runs. Several processes would have to send each other a variable's first value, and
    TensorFlow's collectives do not carry uint8: there it is a tensor. Rows cost a TPU less than
    images do: 306 MB a step against 429, of 60,000 28x28 images (`scripts/tpu_check.py`, v5e).
    """
    rows = images.reshape(len(images), -1)
    return tuple(_put(strategy, x) for x in (rows, labels) if x is not None)


def _put(strategy: tf.distribute.Strategy, array: np.ndarray):
    value = _tensor(array)
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        with strategy.scope():
            return tf.Variable(value, trainable=False)
    devices = strategy.extended.worker_devices

    def on_device(context: tf.distribute.ValueContext) -> tf.Tensor:
        with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
            return tf.identity(value)

    return strategy.experimental_distribute_values_from_function(on_device)


def _tensor(array: np.ndarray) -> tf.Tensor:
    """A tensor that shares the array's memory; nothing may write to it any more.

    `tf.constant` makes two copies. Here there is one, where the array may not be shared as it is:
    TensorFlow's kernels want it to begin at a multiple of 64 bytes, and DLPack wants it writable.
    """
    if array.ctypes.data % _ALIGNMENT or not array.flags.writeable or not array.flags.c_contiguous:
        buffer = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
        start = -buffer.ctypes.data % _ALIGNMENT
        aligned = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        aligned[:] = array
        array = aligned
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def gather_batch(
    data: tuple, indices: tf.Tensor, image_shape: tuple[int, int, int]
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The examples int32 [B] of `data`: uint8 [B, H, W, C], and labels int32 [B] if it has any."""
    rows, *labels = data
    images = tf.reshape(tf.gather(rows, indices), (-1, *image_shape))
    return images, tf.gather(labels[0], indices) if labels else None
