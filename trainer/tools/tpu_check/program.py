"""The trainer's own replica step as StableHLO, as a TPU would compile it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import tensorflow as tf

# Not public: the operations that, under XLA, depend on the other replicas.
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from trainer.errors import TrainerError
from trainer.gan.trainer import GanTrainer

_LIBRARIES = {"tensorflow", "keras"}
_REMEDY = "use operations of fixed shape that XLA compiles, or do that work between loop calls"
_COPY = re.compile(r"^\s*(%[\w#]+) = mhlo\.copy (%[\w#]+) ")
_VALUE = re.compile(r"%[\w#]+")
_ALIAS = re.compile(r"parameter_number = (\d+) : i64}, output_index = array<i64: (\d+)>")
_TENSOR = re.compile(r"tensor<((?:\d+x)*)([a-z]+)(\d+)>")
_LOCATION = re.compile(r"^(#loc\d+) = loc\((?:\"([^\"]+)\"|fused\[(#loc\d+))", re.MULTILINE)


class XlaReplicas(tf.distribute.OneDeviceStrategy):
    """A strategy of as many replicas as a TPU slice has, with variables on this machine's CPU.

    It builds a GanTrainer and traces its step; it cannot run one.

    Args:
      num_replicas: Number of replicas, at least 1.
    """

    compiles_for = "TPU"

    def __init__(self, num_replicas: int) -> None:
        super().__init__("CPU:0")
        self._num_replicas = num_replicas

    @property
    def num_replicas_in_sync(self) -> int:
        return self._num_replicas


class _Replica(tf.distribute.ReplicaContext):
    """A replica that gets its number and its sums from XLA, as TPUStrategy's replicas do."""

    @property
    def replica_id_in_sync_group(self) -> tf.Tensor:
        return gen_xla_ops.xla_replica_id()

    def all_reduce(self, reduce_op, value, options=None):
        assert reduce_op == tf.distribute.ReduceOp.SUM
        everyone = np.arange(self.num_replicas_in_sync, dtype=np.int32)[np.newaxis]

        @tf.custom_gradient
        def total(x: tf.Tensor):
            return reduce(x), total  # a sum over replicas is its own gradient

        def reduce(x: tf.Tensor) -> tf.Tensor:
            if x.dtype != tf.float64:
                return gen_xla_ops.xla_all_reduce(x, everyone, "Add", "CrossReplica")
            # The operation takes no float64, in which updates are compared: each replica puts its
            # value, as words, into a row of its own, and the sum gathers all rows.
            mine = tf.one_hot(self.replica_id_in_sync_group, everyone.size, dtype=tf.uint32)
            words = tf.reshape(mine, [-1, *[1] * (x.shape.rank + 1)]) * tf.bitcast(x, tf.uint32)
            return tf.reduce_sum(tf.bitcast(reduce(words), tf.float64), axis=0)

        return tf.nest.map_structure(total, value)


@dataclass(frozen=True)
class Program:
    """One step of a GanTrainer, as each replica runs it."""

    text: str
    """StableHLO, with the parameters: example indices int32 [batch], the step int64, `state`."""
    num_replicas: int
    batch_size: int
    state: list[tf.Variable | tf.Tensor]
    """Images, weights, moving statistics and slots, with their values before the step."""
    updated: dict[int, int]
    """Position in `state` -> position of its new value among the outputs."""
    num_operations: int
    """Number of TensorFlow operations in the step."""

    @property
    def all_reduced(self) -> int:
        """Bytes that one replica contributes to all-reduces in a step."""
        # An all_reduce's type follows its body, at the end of the region.
        ends = re.findall(r'"stablehlo\.all_reduce".*?\}\) : \((.*?)\) ->', self.text, re.DOTALL)
        return sum(_num_bytes(*match) for end in ends for match in _TENSOR.findall(end))

    @property
    def from_host(self) -> int:
        """Bytes that a step takes from the host: the batch's indices and the step's number."""
        return 4 * self.batch_size + 8


def lower(trainer: GanTrainer) -> Program:
    """Traces `trainer.replica_step`, both phases, and lowers it to StableHLO.

    Args:
      trainer: A trainer that was built with an XlaReplicas strategy.

    Raises:
      TrainerError: if a TPU cannot run an operation; it names the line that made it.
    """
    signature = (
        tf.TensorSpec([trainer.batch_sampler.batch_size], tf.int32),
        tf.TensorSpec([], tf.int64),
    )

    @tf.function(jit_compile=True, autograph=False)
    def step(indices: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        with _Replica(trainer.strategy, 0):
            return trainer.replica_step(trainer.data, indices, number)

    concrete = step.get_concrete_function(*signature)
    graph = concrete.graph
    generator = step.experimental_get_compiler_ir(*signature)
    try:
        # The CPU's lowering: TensorFlow refuses the TPU's if variables are captured. The TPU's
        # compiler checks the result.
        text = generator(stage="stablehlo", platform_name="CPU")
    except (ValueError, tf.errors.OpError) as error:
        raise TrainerError(_unsupported(str(error), graph)) from error
    _refuse_dynamic_shapes(text, graph)
    by_handle = {id(variable.handle): variable for variable in graph.variables}
    return Program(
        text=_without_copies(text),
        num_replicas=trainer.strategy.num_replicas_in_sync,
        batch_size=trainer.config.batch_size,
        state=[by_handle.get(id(capture), capture) for capture in concrete.captured_inputs],
        updated={
            int(parameter) - len(signature): int(output)
            for parameter, output in _ALIAS.findall(text)
        },
        num_operations=len(graph.get_operations()),
    )


def _without_copies(text: str) -> str:
    """Replaces the results of mhlo.copy, which StableHLO does not have, by their operands."""
    source: dict[str, str] = {}
    lines = []
    for line in text.splitlines():
        line = _VALUE.sub(lambda match: source.get(match[0], match[0]), line)
        if match := _COPY.match(line):
            source[match[1]] = match[2]
        else:
            lines.append(line)
    return "\n".join(lines)


def _num_bytes(dimensions: str, kind: str, bits: str) -> int:
    return math.prod(int(d) for d in dimensions.split("x") if d) * int(bits) // 8


def _unsupported(message: str, graph: tf.Graph) -> str:
    """TensorFlow's message about operations that XLA does not know, in one line."""
    names = list(dict.fromkeys(re.findall(r"\{\{node ([^}]+)\}\}", message)))
    if not names:
        return f"the step cannot be compiled: {' '.join(message.split())[:300]}"
    return f"these operations cannot run on a TPU: {_describe(names, graph)}; {_REMEDY}"


def _refuse_dynamic_shapes(text: str, graph: tf.Graph) -> None:
    lines = [
        line for line in text.splitlines() if "#stablehlo.bounds" in line or "tensor<?" in line
    ]
    if not lines:
        return
    locations = {key: name or fused for key, name, fused in _LOCATION.findall(text)}
    used = {match[1] for line in lines if (match := re.search(r"loc\((#loc\d+)\)$", line))}
    names = {locations.get(key) for key in used}
    names |= {locations.get(name) for name in names}
    # The first such operation in the graph causes the others.
    first = [operation.name for operation in graph.get_operations() if operation.name in names]
    described = _describe(first[:1], graph) if first else lines[0].strip()[:200]
    raise TrainerError(
        f"this shape depends on the data, and a TPU's may not: {described}; {_REMEDY}"
    )


def _describe(names: Sequence[str], graph: tf.Graph) -> str:
    """The types and names of operations, and the lines that made them."""
    descriptions = []
    operations = {operation.name: operation for operation in graph.get_operations()}
    for name in names:
        operation = operations.get(name)
        if operation is None:
            descriptions.append(name)
            continue
        ours = [f for f in operation.traceback if not _LIBRARIES & set(PurePath(f.filename).parts)]
        where = f", made by {ours[-1].filename}:{ours[-1].lineno}" if ours else ""
        descriptions.append(f"{operation.type} '{name}'{where}")
    return " and ".join(descriptions)
