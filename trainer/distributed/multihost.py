"""The processes of a run, a program each: who is chief, and what they tell each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from trainer.errors import LostPeerError, first_line

# What TensorFlow's collectives raise, depending on the moment, when a process is lost.
_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
)


def has_peers(strategy: tf.distribute.Strategy) -> bool:
    """Whether other processes, each with a program of its own, take part."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@contextlib.contextmanager
def explain_lost_peer(
    strategy: tf.distribute.Strategy, last_words: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Turns the loss of another process, within the block, into one line.

    Args:
      strategy: Of the run.
      last_words: What to end it with.

    Raises:
      LostPeerError: as it says.
    """
    try:
        yield
    except _ERRORS as error:
        if not has_peers(strategy):
            raise
        raise LostPeerError(
            f"another process of this run is gone ({first_line(error)}); start the same "
            f"command on all of them again to resume{last_words()}"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes what is written once."""
    resolver = strategy.cluster_resolver
    if not has_peers(strategy):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (not has_chief and resolver.task_id == 0)


def any_process(strategy: tf.distribute.Strategy) -> Callable[[bool], bool]:
    """A function of a flag that is true, on every process, if it was on any of them.

    Every process must call it as often as the others do.
    """
    total = _sum_over_replicas(strategy)
    return lambda flag: bool(total(int(flag)))


def all_equal(strategy: tf.distribute.Strategy, number: int) -> bool:
    """Whether all processes have the same `number`, 0 <= number < 2**32; all get the answer."""
    total = _sum_over_replicas(strategy)
    # Where numbers differ, some process has one that is not the mean; that one tells the rest.
    return not total(int(total(number) != number * strategy.num_replicas_in_sync))


def from_chief(strategy: tf.distribute.Strategy) -> Callable[[bytes], bytes]:
    """A function of bytes: the chief's, on every process; what the others pass does not matter.

    Every process must call it as often as the others do. It traces once for each size.
    """
    if not has_peers(strategy):
        return lambda content: content
    total = _sum_over_replicas(strategy)

    def listen(content: bytes) -> bytes:
        mine = content if is_chief(strategy) else b""
        copies = total(int(is_chief(strategy)))  # one from each of the chief's replicas
        size = total(len(mine)) // copies
        numbers = np.frombuffer(mine or bytes(size), np.uint8).astype(np.int64)
        return (total(numbers) // copies).astype(np.uint8).tobytes()

    return listen


def _sum_over_replicas(strategy: tf.distribute.Strategy) -> Callable[[ArrayLike], np.ndarray]:
    """A function of this process's integers: the sum of what each replica's process gave it."""
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
