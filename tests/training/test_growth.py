"""Long runs and large datasets: what they cost in memory, in a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORKER = Path(__file__).parents[1] / "support" / "growth_worker.py"


def measure(*arguments):
    command = [sys.executable, WORKER, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_2000_calls_leave_no_memory_behind(tmp_path):
    after_20, after_2020 = measure("calls", tmp_path)
    assert after_2020 < after_20 + 10e6  # measured: 1.4 MB


def test_the_dataset_is_held_twice_at_most():
    """The caller's array and the trainer's, and 28 bytes an image for the order of the batches."""
    assert measure("dataset") < 2.1  # measured: 2.04
