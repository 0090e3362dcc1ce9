"""TPU chips' peak rates, and the least time that a program takes on them."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.errors import TrainerError


@dataclass(frozen=True)
class Chip:
    """Peaks of one chip, from Google's "TPU architecture" pages (cloud.google.com/tpu/docs)."""

    name: str
    flops: float
    """FLOP/s in bfloat16, in which XLA also multiplies float32 on TPUs by default."""
    memory: float
    """Bytes of HBM."""
    bandwidth: float
    """Bandwidth of HBM, in bytes/s."""
    interconnect: float | None = None
    """Bandwidth to all neighbours, in bytes/s one way; None if Google publishes no figure."""


_CHIPS = {
    "TPU v2": Chip("v2", 45e12, 16e9, 700e9),
    "TPU v3": Chip("v3", 123e12, 32e9, 900e9),
    "TPU v4": Chip("v4", 275e12, 32e9, 1200e9),
    "TPU v5 lite": Chip("v5e", 197e12, 16e9, 819e9, 200e9),
    "TPU v5": Chip("v5p", 459e12, 95e9, 2765e9, 600e9),
    "TPU v6 lite": Chip("v6e", 918e12, 32e9, 1600e9, 400e9),
}


def chip(device_kind: str) -> Chip:
    """The chip that libtpu calls `device_kind`.

    Raises:
      TrainerError: if its peaks are not in the table.
    """
    if device_kind not in _CHIPS:
        raise TrainerError(
            f"'{device_kind}' is not among the chips whose peaks are known: "
            f"{', '.join(_CHIPS)}; add it to trainer/tools/tpu_check/roofline.py"
        )
    return _CHIPS[device_kind]


@dataclass(frozen=True)
class Roofline:
    """Seconds that a step takes at least, by each of a chip's limits.

    Williams et al., "Roofline: an insightful visual performance model for multicore architectures",
    2009.
    """

    compute: float
    memory: float
    interconnect: float

    @property
    def step(self) -> float:
        """The seconds that a step takes at least, if all three overlap."""
        return max(self.compute, self.memory, self.interconnect)

    @property
    def limit(self) -> str:
        """Name of the limit that decides."""
        return max(vars(self), key=vars(self).__getitem__)


def roofline(
    chip: Chip,
    *,
    cores: int,
    replicas: int,
    flops: float,
    bytes_accessed: float,
    all_reduced: float,
) -> Roofline:
    """The least times of a program's step, with each replica on a core of its own.

    Args:
      chip: The chip; its cores share its peaks evenly.
      cores: Number of cores, and so of replicas, on a chip.
      replicas: Number of replicas in all.
      flops: Floating-point operations of one replica's step.
      bytes_accessed: Bytes of HBM that one replica's step reads and writes.
      all_reduced: Bytes that one replica contributes to all-reduces in a step; a ring moves each
        2 (n - 1) / n times (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for
        clusters of workstations", 2009).
    """
    moved = all_reduced * 2 * (replicas - 1) / replicas
    return Roofline(
        compute=flops * cores / chip.flops,
        memory=bytes_accessed * cores / chip.bandwidth,
        interconnect=moved * cores / chip.interconnect if chip.interconnect else 0.0,
    )
