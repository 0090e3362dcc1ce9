"""The wheel: installed elsewhere, it finds its configs from any working directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory that the built wheel was unpacked into, as an installation would."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("trainer", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--target", str(target), str(source)),
        ],
        check=True,
    )
    return target


def test_a_bare_config_name_is_found(installed, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "trainer.main", "--gin_file=digits.gin", "--dry_run"),
            *("--gin_file=hardware/one_device.gin", "--gin_file=models/upsampling.gin"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "model_dir      runs/digits-upsampling" in done.stdout


def test_every_config_is_inside(installed):
    shipped = {p.relative_to(ROOT / "configs") for p in (ROOT / "configs").rglob("*.gin")}
    inside = installed / "trainer" / "configs"
    assert {p.relative_to(inside) for p in inside.rglob("*.gin")} == shipped


def test_weights_and_pages_are_inside(installed):
    for folder, pattern in (("features/weights", "*.npz"), ("pages", "*.html"), ("pages", "*.css")):
        names = {p.name for p in (ROOT / "trainer" / folder).glob(pattern)}
        assert names and names == {p.name for p in (installed / "trainer" / folder).glob(pattern)}
