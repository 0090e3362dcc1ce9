"""Runs of several processes: which one is the chief, and values that they agree on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from trainer.errors import LostPeerError, first_line

# What TensorFlow's collectives raise when a process is lost; which one depends on the moment.
_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
)


def has_peers(strategy: tf.distribute.Strategy) -> bool:
    """Whether the run has more than one process."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@contextlib.contextmanager
def explain_lost_peer(
    strategy: tf.distribute.Strategy, suffix: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Replaces TensorFlow's error for a lost process, raised in the block, by one line.

    Args:
      strategy: The run's strategy. Errors of a single process pass unchanged.
      suffix: Returns text to append to that line; called only if a process is lost.

    Raises:
      LostPeerError: if another process of the run is gone.
    """
    try:
        yield
    except _ERRORS as error:
        if not has_peers(strategy):
            raise
        raise LostPeerError(
            f"another process of this run is gone ({first_line(error)}); start the same "
            f"command on all of them again to resume{suffix()}"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes to the run's directory."""
    resolver = strategy.cluster_resolver
    if not has_peers(strategy):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (not has_chief and resolver.task_id == 0)


def any_process(strategy: tf.distribute.Strategy) -> Callable[[bool], bool]:
    """A function flag -> whether it is true on any process; every process gets the same answer.

    All processes must call it equally often.
    """
    total = _sum_over_replicas(strategy)
    return lambda flag: bool(total(int(flag)))


def all_equal(strategy: tf.distribute.Strategy, number: int) -> bool:
    """Whether `number`, 0 <= number < 2**32, is the same on all processes.

    Every process must call it, and gets the same answer.
    """
    total = _sum_over_replicas(strategy)
    # Where numbers differ, at least one process has one that is not the mean, and reports it.
    return not total(int(total(number) != number * strategy.num_replicas_in_sync))


def from_chief(strategy: tf.distribute.Strategy) -> Callable[[bytes], bytes]:
    """A function bytes -> the chief's bytes, on every process; what the others pass is ignored.

    All processes must call it equally often. It traces once for each size.
    """
    if not has_peers(strategy):
        return lambda content: content
    total = _sum_over_replicas(strategy)

    def broadcast(content: bytes) -> bytes:
        mine = content if is_chief(strategy) else b""
        copies = total(int(is_chief(strategy)))  # one from each of the chief's replicas
        size = total(len(mine)) // copies
        numbers = np.frombuffer(mine or bytes(size), np.uint8).astype(np.int64)
        return (total(numbers) // copies).astype(np.uint8).tobytes()

    return broadcast


def _sum_over_replicas(strategy: tf.distribute.Strategy) -> Callable[[ArrayLike], np.ndarray]:
    """A function integers -> their sum over all replicas, each with its process's integers."""
    if not has_peers(strategy):
        return lambda numbers: np.asarray(numbers) * strategy.num_replicas_in_sync

    @tf.function
    def total(numbers: tf.Tensor) -> tf.Tensor:
        def reduce() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            here = tf.identity(numbers)  # on the replica's own device
            return context.all_reduce(tf.distribute.ReduceOp.SUM, here)

        return strategy.experimental_local_results(strategy.run(reduce))[0]

    return lambda numbers: total(tf.constant(numbers, tf.int64)).numpy()
