"""The processor of this machine, of which Python itself knows little."""

from __future__ import annotations

import platform
from pathlib import Path

_INFORMATION = Path("/proc/cpuinfo")
_EXTENSIONS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX512-BF16",
    "avx512f": "AVX512",
    "avx2": "AVX2",
}
"""What Linux calls an instruction set, the best first, and what the field calls it."""


def description() -> str:
    """Its name and its best instruction set, such as "AMD EPYC with AVX512-BF16"."""
    name = _field("model name") or platform.processor() or platform.machine()
    flags = _flags()
    known = [title for flag, title in _EXTENSIONS.items() if flag in flags]
    return f"{name} with {known[0]}" if known else name


def multiplies_bfloat16() -> bool:
    """Whether it has units for bfloat16's products; False where that cannot be told."""
    return not _flags().isdisjoint(["amx_bf16", "avx512_bf16"])


def _flags() -> set[str]:
    return set(_field("flags").split())


def _field(name: str) -> str:
    """Of the first core; empty if it is not there, or this is not Linux."""
    lines = _INFORMATION.read_text().splitlines() if _INFORMATION.exists() else []
    values = [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]
    return values[0] if values else ""
