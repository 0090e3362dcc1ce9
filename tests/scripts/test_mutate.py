"""The list of faults stays up to date; `python scripts/mutate.py` runs the tests on each."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from trainer.errors import TrainerError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mutate():
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts" / "mutate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_fault_can_be_put_in_and_its_tests_exist(mutate, tmp_path):
    faults = mutate.load()
    assert len({fault.name for fault in faults}) == len(faults) >= 42
    for fault in faults:
        copy = tmp_path / fault.file
        copy.parent.mkdir(parents=True, exist_ok=True)
        source = (ROOT / fault.file).read_text()
        copy.write_text(source)
        mutate.put(fault, tmp_path)
        assert copy.read_text() != source
        assert all((ROOT / name.split("::")[0]).exists() for name in fault.tests), fault.name


def test_a_fault_that_fits_nowhere_is_refused(mutate, tmp_path):
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    fault = mutate.Fault("twice", "a.py", "x = 1", "x = 2", [])
    with pytest.raises(TrainerError, match="'twice': its text occurs 2 times in a.py"):
        mutate.put(fault, tmp_path)
