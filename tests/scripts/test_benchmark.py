from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


def test_a_short_benchmark_leaves_table_figures_and_chart(tmp_path):
    size = ["--batch_size=8", "--num_images=64", "--rounds=2", "--seconds=0.01"]
    command = [sys.executable, SCRIPT, "--loop=float32", *size, f"--output={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "benchmark.md").read_text()
    assert table in done.stdout
    figures = json.loads((tmp_path / "benchmark.json").read_text())
    assert [*figures["loops"]] == ["notebook", "float32"]
    assert figures["rounds"] == 2 and figures["batch_size"] == 8
    assert figures["loops"]["float32"]["kernel_share"]["median"] > 0
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
