"""What a TPU chip can do at most, and how long a program takes it at the least."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.errors import TrainerError


@dataclass(frozen=True)
class Chip:
    """Peaks of one chip, from Google's "TPU architecture" pages (cloud.google.com/tpu/docs)."""

    name: str
    flops: float
    """A second, in bfloat16, which is also how XLA multiplies float32 on TPUs by default."""
    memory: float
    """Bytes of HBM."""
    bandwidth: float
    """Of HBM, bytes a second."""
    interconnect: float | None = None
    """To all neighbours, bytes a second one way; None where Google gives no such figure."""


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
      TrainerError: for a kind whose peaks are not known here.
    """
    if device_kind not in _CHIPS:
        raise TrainerError(
            f"'{device_kind}' is not among the chips whose peaks are known: "
            f"{', '.join(_CHIPS)}; add it to trainer/tools/tpu_check/chips.py"
        )
    return _CHIPS[device_kind]


@dataclass(frozen=True)
class Roofline:
    """The least seconds of a step that each of a chip's limits allows (Williams et al., 2009)."""

    compute: float
    memory: float
    interconnect: float

    @property
    def step(self) -> float:
        """Seconds, if all three overlap."""
        return max(self.compute, self.memory, self.interconnect)

    @property
    def limit(self) -> str:
        """Which of the three it is."""
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
    """How fast a program may be at the most, with each replica on a core of its own.

    Args:
      chip: Whose cores share its peaks evenly.
      cores: Replicas on a chip.
      replicas: In all.
      flops: Of a replica's step.
      bytes_accessed: By a replica's step.
      all_reduced: Bytes that a replica adds to the others' in a step; a ring moves each
        2 (n - 1) / n times (Patarasuk and Yuan, 2009).
    """
    moved = all_reduced * 2 * (replicas - 1) / replicas
    return Roofline(
        compute=flops * cores / chip.flops,
        memory=bytes_accessed * cores / chip.bandwidth,
        interconnect=moved * cores / chip.interconnect if chip.interconnect else 0.0,
    )
