from __future__ import annotations

import platform

import pytest

from trainer.kernels import cpu

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
def test_a_processor_is_named_with_what_it_can_do(
    tmp_path, monkeypatch, information, description, units
):
    path = tmp_path / "cpuinfo"
    path.write_text(information)
    monkeypatch.setattr(cpu, "_CPUINFO", path)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert cpu.description() == description
    assert cpu.multiplies_bfloat16() is units


def test_this_machine_has_a_name():
    assert cpu.description()
