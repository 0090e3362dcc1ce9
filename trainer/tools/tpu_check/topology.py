"""The devices of a TPU topology such as "v5e:2x4", which libtpu knows without a TPU."""

from __future__ import annotations

import os
from typing import Any

from trainer.errors import TrainerError

MAX_CPU_REPLICAS = 16
"""The most replicas that `compiler.run` simulates on this machine's CPU."""

_RELEASE = "0.10."
_INSTALL = "pip install 'gan-trainer[tpu-check]' (in a checkout: pip install -e '.[tpu-check]')"
# Without these, libtpu asks a TPU VM's metadata server about the TPU, and locks it for one process,
# although there is none.
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def devices(topology: str) -> list[Any]:
    """The devices of a TPU slice such as "v5e:2x4", which need not exist.

    Raises:
      TrainerError: if libtpu is not installed, or knows no such topology.
    """
    jax = set_up_jax()
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


def set_up_jax() -> Any:
    """Imports JAX, set up for a TPU that does not exist and for MAX_CPU_REPLICAS CPU devices.

    Raises:
      TrainerError: if JAX or libtpu is not installed, or JAX is of an untested release.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import jax
        import libtpu  # noqa: F401  which JAX would miss only later
    except ImportError as error:
        raise TrainerError(f"{error.name} is not installed; {_INSTALL}") from error
    if not jax.__version__.startswith(_RELEASE):
        raise TrainerError(
            f"JAX {jax.__version__} is not of the releases {_RELEASE}* that this was tested with; "
            f"{_INSTALL}"
        )
    if jax.config.jax_num_cpu_devices < MAX_CPU_REPLICAS:
        jax.config.update("jax_num_cpu_devices", MAX_CPU_REPLICAS)
    return jax
