"""The kernel time: how long a step's convolutions and matrix products take, each measured alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from trainer.gan.trainer import GanTrainer

KERNELS = ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput", "MatMul")


class KernelTime:
    """Times every kernel of a trainer's step alone, on random arguments.

    Args:
      trainer: A trainer with one replica.
    """

    def __init__(self, trainer: GanTrainer) -> None:
        self.kernels = [_alone(o) for o in _needed(_step_graph(trainer)) if o.type in KERNELS]
        self._nothing = tf.function(lambda: tf.constant(0.0), autograph=False)
        self.seconds_per_step: list[float] = []
        """Sum over all kernels, one number for each call of `measure`."""

    def measure(self, repeats: int = 5) -> None:
        """Appends the sum of the kernels' median times, each less the time of an empty call."""
        call = _median(self._nothing, repeats)
        times = [_median(kernel, repeats) - call for kernel in self.kernels]
        self.seconds_per_step.append(sum(times))


def _median(function: Callable[[], object], repeats: int) -> float:
    function()  # the first call traces
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _step_graph(trainer: GanTrainer) -> tf.Graph:
    """The graph of one replica's step, both phases."""

    @tf.function(autograph=False)
    def step(indices: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        return trainer.strategy.run(trainer.replica_step, args=(trainer.data, indices, number))

    return step.get_concrete_function(
        tf.TensorSpec([trainer.batch_sampler.batch_size], tf.int32), tf.TensorSpec([], tf.int64)
    ).graph


def _needed(graph: tf.Graph) -> Iterator[tf.Operation]:
    """The operations that TensorFlow runs: those that outputs or updates depend on."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen = {operation.name for operation in waiting}
    while waiting:
        operation = waiting.pop()
        yield operation
        for before in [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]:
            if before.name not in seen:
                seen.add(before.name)
                waiting.append(before)


def _alone(operation: tf.Operation) -> Callable[[], object]:
    inputs = [_argument(tensor, operation.outputs[0].shape) for tensor in operation.inputs]
    attributes = operation.node_def.attr

    @tf.function(autograph=False)
    def kernel() -> tf.Tensor:
        made = tf.compat.v1.get_default_graph().create_op(
            operation.type,
            [tf.convert_to_tensor(value) for value in inputs],
            [output.dtype for output in operation.outputs],
            attrs={name: attributes[name] for name in attributes if not name.startswith("_")},
        )
        return made.outputs[0]

    return kernel


def _argument(tensor: tf.Tensor, output_shape: tf.TensorShape) -> tf.Tensor:
    if tensor.dtype == tf.int32:  # the output shape that a convolution's gradient takes
        return tf.constant(output_shape.as_list())
    return tf.cast(tf.random.stateless_normal(tensor.shape, [0, 0]), tensor.dtype)
