"""XLA's compilers through JAX: for a TPU, which need not exist, and for this CPU.

Only this file uses private parts of JAX; they were tested with the releases in `setup.py`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.errors import TrainerError
from trainer.tools.tpu_check.program import Program
from trainer.tools.tpu_check.topology import devices, set_up_jax


@dataclass(frozen=True)
class Compiled:
    """What the TPU compiler reports for a program; numbers are per replica."""

    device_kind: str
    num_devices: int
    num_chips: int
    seconds: float
    """Seconds that compiling took."""
    flops: float
    bytes_accessed: float
    """Sum over a step's operations; it counts what stays in on-chip memory, too."""
    memory: int
    """Peak bytes of HBM: arguments, outputs that reuse no argument, temporaries and code."""


def compile_for(topology: str, program: Program) -> Compiled:
    """Compiles `program` with the TPU compiler, one replica for each device of `topology`.

    Raises:
      TrainerError: if the compiler refuses it, with its reason.
    """
    slice_ = devices(topology)
    started = time.monotonic()
    executable = _compile(slice_[0].client.compile, program, slice_, topology)
    seconds = time.monotonic() - started
    cost = executable.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    memory = executable.get_compiled_memory_stats()
    return Compiled(
        device_kind=slice_[0].device_kind,
        num_devices=len(slice_),
        num_chips=len({tuple(device.coords) for device in slice_}),
        seconds=seconds,
        flops=cost["flops"],
        bytes_accessed=cost["bytes accessed"],
        memory=memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes,
    )


def run(program: Program, indices: np.ndarray, step: int) -> list[np.ndarray]:
    """Runs one step of `program`, on a CPU device for each replica.

    Args:
      program: A program for at most MAX_CPU_REPLICAS replicas.
      indices: int32 [global batch], the examples of the batch.
      step: Number of steps done before.

    Returns:
      The outputs of the first replica.
    """
    jax = set_up_jax()
    cpus = jax.devices("cpu")[: program.num_replicas]
    executable = _compile(cpus[0].client.compile_and_load, program, cpus, "the CPU")
    mesh = jax.sharding.Mesh(np.array(cpus), "replica")
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    values = [indices, np.int64(step), *(np.asarray(value) for value in program.state)]
    with jax.enable_x64(True):
        arguments = [jax.device_put(value, everywhere) for value in values]
        outputs = executable.execute_sharded(arguments)
        shards = outputs.disassemble_into_single_device_arrays()
    return [np.asarray(replicas[0]) for replicas in shards]


def _compile(compile_with: Any, program: Program, on: list[Any], where: str) -> Any:
    jax = set_up_jax()
    from jax._src.lib import xla_client
    from jax.extend.backend import get_compile_options
    from jax.extend.mlir import ir
    from jax.interpreters import mlir

    options = get_compile_options(
        num_replicas=len(on),
        num_partitions=1,
        device_assignment=np.arange(len(on))[:, np.newaxis],
    )
    try:
        with mlir.make_ir_context():
            module = ir.Module.parse(program.text)
            return compile_with(module, xla_client.DeviceList(tuple(on)), options)
    except jax.errors.JaxRuntimeError as error:
        reason = " ".join(str(error).split())[:500]
        raise TrainerError(f"the compiler for {where} refuses the step: {reason}") from error
