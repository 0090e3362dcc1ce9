"""Puts faults into the code, one at a time, and tells which the tests find.

    python scripts/mutate.py                  # every fault of tests/faults.toml
    python scripts/mutate.py --fault=ema      # those whose name contains "ema"

Each fault is a replacement in one file, and names the tests that should find
it. They run on a copy of the checkout, which stays as it is. Exits with 1 if a
fault survives.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

from absl import flags

from trainer.errors import TrainerError
from trainer.tools import command_line

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "tests" / "faults.toml"
_TIMEOUT = 600  # seconds: a fault that makes a test hang is found too
_COPIED = ("configs", "docs", "scripts", "tests", "trainer")
_COPIED_FILES = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)

FAULT = flags.DEFINE_string("fault", "", "Only faults whose name contains this.")


class Fault(NamedTuple):
    """A realistic mistake in one file."""

    name: str
    file: str
    """Relative to the checkout."""
    before: str
    """Text that occurs in the file exactly once."""
    after: str
    tests: list[str]
    """Arguments of pytest: the tests that should find it."""


def load() -> list[Fault]:
    """The faults of tests/faults.toml."""
    with FAULTS.open("rb") as file:
        return [Fault(**fields) for fields in tomllib.load(file)["fault"]]


def put(fault: Fault, checkout: Path) -> None:
    """Puts a fault into a checkout.

    Raises:
      TrainerError: if the text to replace does not occur exactly once.
    """
    path = checkout / fault.file
    source = path.read_text(encoding="utf-8")
    if (count := source.count(fault.before)) != 1:
        raise TrainerError(
            f"fault '{fault.name}': its text occurs {count} times in {fault.file}, and must occur "
            f"once; bring {FAULTS.relative_to(ROOT)} up to date"
        )
    path.write_text(source.replace(fault.before, fault.after), encoding="utf-8")


def _copy(checkout: Path) -> None:
    for name in _COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored, dirs_exist_ok=True)
    for name in _COPIED_FILES:
        shutil.copy(ROOT / name, checkout)


def _found_by(fault: Fault, checkout: Path) -> str | None:
    """The first test that fails with the fault; None if all pass."""
    original = (checkout / fault.file).read_bytes()
    put(fault, checkout)
    try:
        # -m pytest puts the copy's package before the installed one.
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *fault.tests], cwd=checkout, capture_output=True, timeout=_TIMEOUT
        )
        if done.returncode not in (0, 1):
            raise TrainerError(
                f"fault '{fault.name}': pytest ended with {done.returncode}: "
                f"{done.stdout.decode()[-300:]}"
            )
        if done.returncode == 0:
            return None
        named = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - |$)", done.stdout.decode(), re.MULTILINE)
        return named[1] if named else "a test"
    except subprocess.TimeoutExpired:
        return f"a test that took over {_TIMEOUT} s"
    finally:
        (checkout / fault.file).write_bytes(original)


def _mutate() -> int:
    faults = [fault for fault in load() if FAULT.value in fault.name]
    survivors = []
    with tempfile.TemporaryDirectory() as directory:
        checkout = Path(directory)
        _copy(checkout)
        for number, fault in enumerate(faults, 1):
            started = time.monotonic()
            test = _found_by(fault, checkout)
            survivors += [] if test else [fault.name]
            outcome = f"found by {test}" if test else "SURVIVES"
            seconds = time.monotonic() - started
            print(f"{number}/{len(faults)} {fault.name} ({seconds:.0f} s): {outcome}", flush=True)
    print(f"{len(faults) - len(survivors)} of {len(faults)} faults were found")
    return 1 if survivors else 0


if __name__ == "__main__":
    command_line.run(_mutate, doc=__doc__, interrupted="Stopped; the checkout is as it was.")
