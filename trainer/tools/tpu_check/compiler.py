"""XLA's compilers, reached through JAX: for a TPU that is not there, and for this CPU.

What JAX calls private is in this file only, and is tried with the releases that `setup.py` names.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.errors import TrainerError
from trainer.tools.tpu_check.program import Program

MOST_CPU_REPLICAS = 16
"""How many replicas `run` can play on this machine's CPU."""

_RELEASE = "0.10."
_INSTALL = "pip install 'gan-trainer[tpu-check]' (in a checkout: pip install -e '.[tpu-check]')"
# libtpu looks for a TPU VM's metadata unless it is told what to be, and keeps other processes away
# from a TPU that is not there.
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclass(frozen=True)
class Compiled:
    """What the TPU compiler says of a program, for each replica."""

    device_kind: str
    num_devices: int
    num_chips: int
    seconds: float
    """That compiling took."""
    flops: float
    bytes_accessed: float
    """By all operations of a step, each by itself: what stays in on-chip memory is in it too."""
    memory: int
    """Bytes of HBM at the peak: arguments, outputs that are no argument, temporaries and code."""


def devices(topology: str) -> list[Any]:
    """The devices of a TPU slice that need not exist, such as "v5e:2x4".

    Raises:
      TrainerError: if libtpu is not installed, or knows no such topology.
    """
    jax = _jax()
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainerError(
            f"--topology={topology} is unknown to libtpu ({reason}): name a generation and a "
            "shape, such as v5e:2x4, v6e:2x4, v4:2x2x1 or v3:2x2"
        ) from error
    return list(found)


def compile_for(topology: str, program: Program) -> Compiled:
    """Compiles `program` with the TPU compiler, one replica a device of `topology`.

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


def run(program: Program, order: np.ndarray, step: int) -> list[np.ndarray]:
    """One step of `program` on as many CPU devices as it has replicas.

    Args:
      program: Of at most MOST_CPU_REPLICAS replicas.
      order: int32 [global batch], the batch's examples.
      step: Steps done before.

    Returns:
      The first replica's outputs.
    """
    jax = _jax()
    cpus = jax.devices("cpu")[: program.num_replicas]
    executable = _compile(cpus[0].client.compile_and_load, program, cpus, "the CPU")
    mesh = jax.sharding.Mesh(np.array(cpus), "replica")
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    values = [order, np.int64(step), *(np.asarray(value) for value in program.state)]
    with jax.enable_x64(True):
        arguments = [jax.device_put(value, everywhere) for value in values]
        outputs = executable.execute_sharded(arguments)
        shards = outputs.disassemble_into_single_device_arrays()
    return [np.asarray(replicas[0]) for replicas in shards]


def _compile(compile_with: Any, program: Program, on: list[Any], where: str) -> Any:
    jax = _jax()
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


def _jax() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import jax
        import libtpu  # noqa: F401  which JAX would miss only later
    except ImportError as error:
        raise TrainerError(f"{error.name} is not installed; {_INSTALL}") from error
    if not jax.__version__.startswith(_RELEASE):
        raise TrainerError(
            f"JAX {jax.__version__} is not of the releases {_RELEASE}* that this was made for; "
            f"{_INSTALL}"
        )
    if jax.config.jax_num_cpu_devices < MOST_CPU_REPLICAS:
        jax.config.update("jax_num_cpu_devices", MOST_CPU_REPLICAS)
    return jax
