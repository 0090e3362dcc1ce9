"""The CPU of this machine: its name, and whether it computes in bfloat16."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_EXTENSIONS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX512-BF16",
    "avx512f": "AVX512",
    "avx2": "AVX2",
}
"""Instruction sets from best to worst: Linux's flag -> the usual name."""


def description() -> str:
    """The CPU's name and its best instruction set, such as "AMD EPYC with AVX512-BF16"."""
    name = _field("model name") or platform.processor() or platform.machine()
    flags = _flags()
    known = [title for flag, title in _EXTENSIONS.items() if flag in flags]
    return f"{name} with {known[0]}" if known else name


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16 products; False if that is not known."""
    return not _flags().isdisjoint(["amx_bf16", "avx512_bf16"])


def _flags() -> set[str]:
    return set(_field("flags").split())


def _field(name: str) -> str:
    """A field of the first core in /proc/cpuinfo; empty if there is none, as outside Linux."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    values = [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]
    return values[0] if values else ""
