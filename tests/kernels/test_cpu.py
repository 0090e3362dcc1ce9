from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from trainer.kernels import cpu

CPUINFO = Path("/proc/cpuinfo")
INTEL = """processor : 0
model name : Intel(R) Xeon(R) Platinum 8488C
flags : fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile
"""


@pytest.mark.parametrize(
    ("information", "description", "units"),
    [
        (INTEL, "Intel(R) Xeon(R) Platinum 8488C with AMX", True),
        (INTEL.replace("amx_bf16", ""), "Intel(R) Xeon(R) Platinum 8488C with AVX512-BF16", True),
        ("model name : AMD EPYC 7B12\nflags : sse2 avx2\n", "AMD EPYC 7B12 with AVX2", False),
        ("", "arm", False),
    ],
)
def test_a_cpu_is_named_with_its_best_instruction_set(
    tmp_path, monkeypatch, information, description, units
):
    path = tmp_path / "cpuinfo"
    path.write_text(information)
    monkeypatch.setattr(cpu, "_CPUINFO", path)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert cpu.description() == description
    assert cpu.multiplies_bfloat16() is units


@pytest.mark.skipif(not CPUINFO.exists(), reason="not Linux")
def test_this_machine_has_the_name_that_linux_gives_it():
    names = re.findall(r"^model name\s*: (.*)$", CPUINFO.read_text(), re.MULTILINE)
    if not names:
        pytest.skip("Linux has no name for this kind of CPU")
    assert cpu.description().startswith(names[0])
