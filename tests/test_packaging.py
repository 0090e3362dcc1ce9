"""The wheel: it finds its configs from anywhere, and leaves a preinstalled TensorFlow alone."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FLAVOURS = {"tensorflow", "tensorflow-cpu", "tensorflow-tpu"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A directory that the wheel was unpacked into, as an installation would."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--target", target, wheel),
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


def test_every_file_is_inside(installed):
    """Modules, configs, weights, and the pages' templates."""
    assert {*files(ROOT / "configs")} == {*files(installed / "trainer" / "configs")} != set()
    inside = {name for name in files(installed / "trainer") if not name.startswith("configs/")}
    assert inside == {*files(ROOT / "trainer")}


def files(folder):
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [path.as_posix() for path in found if "__pycache__" not in path.parts]


def tensorflow_and_its_needs():
    """The distributions here that TensorFlow is, or requires, directly or not."""
    names, found = set(FLAVOURS), {}
    while names:
        name = canonicalize_name(names.pop())
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        needs = [Requirement(line) for line in found[name].requires or []]
        applying = [r for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
        names |= {canonicalize_name(r.name) for r in applying} - found.keys()
    return found


@pytest.mark.slow
def test_pip_would_leave_this_tensorflow_and_its_needs_alone(wheel, tmp_path):
    """pip's own answer, for an environment that holds their metadata and nothing else."""
    venv.create(tmp_path, with_pip=False)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    preinstalled = tensorflow_and_its_needs()
    assert {"keras", "numpy", "protobuf"} < preinstalled.keys()
    for distribution in preinstalled.values():
        folder = distribution._path
        shutil.copytree(folder, site / folder.name)
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "bin" / "python"]
    done = subprocess.run(
        [*pip, "install", "--dry-run", "--quiet", "--report", "-", wheel],
        capture_output=True,
        text=True,
    )
    if "No matching distribution found" in done.stderr and not registry_answers():
        pytest.skip("no package registry can be reached")
    assert done.returncode == 0, done.stderr
    planned = {
        canonicalize_name(item["metadata"]["name"]) for item in json.loads(done.stdout)["install"]
    }
    assert {"gan-trainer", "tensorflow-datasets"} <= planned
    assert not planned & (preinstalled.keys() | FLAVOURS)


def registry_answers():
    ask = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    return subprocess.run([*ask, "gin-config"], capture_output=True).returncode == 0
