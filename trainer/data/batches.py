"""The batch of each step, from a split in memory, without iterator state.

Every device holds all images as uint8, and a step gathers its batch there. The examples of a batch
are a pure function of (seed, step), so resuming at any step needs nothing but the step.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from trainer.errors import TrainerError

_ALIGNMENT = 64  # bytes; the largest that Eigen asks for


def normalise(images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
    """uint8 [..., C] in [0, 255] -> [-1, 1]."""
    return tf.cast(images, dtype) / 127.5 - 1.0


def denormalise(images: np.ndarray) -> np.ndarray:
    """[..., C] in [-1, 1] -> uint8 in [0, 255]; values outside the range are clipped."""
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


class BatchSampler:
    """The examples that make up the batch of each step.

    Every epoch is a new permutation of the dataset, cut into whole batches. The rest, less than a
    batch, is left out, as in the tutorial's notebook.

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
                f"batch_size={batch_size} is more than the dataset's {num_examples} examples; "
                "choose a smaller one"
            )
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.steps_per_epoch = num_examples // batch_size
        self._seed = seed
        self._epoch = functools.lru_cache(maxsize=2)(self._permutation)

    def indices(self, step: int, num_steps: int) -> np.ndarray:
        """int32 [num_steps, batch_size]: indices of the examples of steps step, step + 1, ..."""
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
    """Number of examples of the global batch that each replica gets.

    Raises:
      TrainerError: if the global batch is not a positive multiple of the number of replicas.
    """
    if batch_size < 1 or batch_size % num_replicas:
        below = batch_size // num_replicas * num_replicas
        nearest = [str(size) for size in (below, below + num_replicas) if size > 0]
        raise TrainerError(
            f"batch_size={batch_size} cannot be shared evenly by {num_replicas} replicas; "
            f"the nearest sizes that can: {', '.join(nearest)}"
        )
    return batch_size // num_replicas


def replica_examples(batch_size: int) -> tf.Tensor:
    """The examples of the global batch that are this replica's, int32 [b], in [0, batch_size).

    To be called by a replica, within strategy.run; `per_replica_batch_size` is b.
    """
    context = tf.distribute.get_replica_context()
    count = batch_size // context.num_replicas_in_sync
    first = tf.cast(context.replica_id_in_sync_group, tf.int32) * count
    return first + tf.range(count)


def replicate(
    strategy: tf.distribute.Strategy, images: np.ndarray, labels: np.ndarray | None = None
) -> tuple:
    """Copies a split to each of this process's replicas.

    The first replica may share the arrays' memory: nothing may write to them afterwards.

    Args:
      strategy: The run's strategy.
      images: uint8 [N, H, W, C].
      labels: int32 [N]; None if the models are unconditional.

    Returns:
      An argument for strategy.run, which each replica passes to `gather_batch` as `data`.
    """
    # The data is in variables, which stay on their device: a tensor might pass through the host in
    # every step of a loop that a TPU's host runs. Several processes use tensors, since they would
    # have to send each other a variable's first value, and TensorFlow's collectives do not carry
    # uint8. Rows cost a TPU less than images do: 306 MB a step rather than 429, for 60,000 28x28
    # images (`scripts/tpu_check.py`, v5e).
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
    """A tensor that shares the array's memory; nothing may write to it afterwards.

    `tf.constant` makes two copies. This makes at most one, if the array cannot be shared as it is:
    TensorFlow's kernels need it to start at a multiple of 64 bytes, and DLPack needs it writable.
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
    """The images and labels of some examples.

    Args:
      data: One replica's part of what `replicate` returned.
      indices: int32 [B], in [0, N).
      image_shape: (H, W, C).

    Returns:
      Images uint8 [B, H, W, C], and labels int32 [B] or None.
    """
    rows, *labels = data
    images = tf.reshape(tf.gather(rows, indices), (-1, *image_shape))
    return images, tf.gather(labels[0], indices) if labels else None
