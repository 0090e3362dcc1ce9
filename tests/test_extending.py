"""docs/extending.md: its files and commands, run as the page shows them in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.weights import checkpoint

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = re.findall(r"^`(\w+\.\w+)`[^\n]*:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SECTIONS = re.split(r"^##+ (.*)\n", PAGE, flags=re.MULTILINE)
COMMANDS = {
    title: commands[0]
    for title, text in zip(SECTIONS[1::2], SECTIONS[2::2], strict=True)
    if (commands := re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A directory with the page's files, and a function that runs a section's commands there."""
    directory = tmp_path_factory.mktemp("mine")
    for name, content in FILES:
        (directory / name).write_text(content)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
    }

    def follow(title, commands=None):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands or COMMANDS[title]],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return directory, follow


def last_line(log):
    return [line for line in log if line.startswith("Trained to step 20.")]


def test_the_page_has_what_the_tests_follow():
    names = {name for name, _ in FILES}
    for kind in ("loss", "penalty", "model", "data", "strategy"):
        assert {f"my_{kind}.py", f"my_{kind}.gin"} <= names
    assert len(COMMANDS) == 7


def test_a_loss_and_resuming_its_run(page):
    directory, follow = page
    assert last_line(follow("A loss"))
    text = (directory / "runs/my_loss/config.gin").read_text()
    assert "experiment.train.loss = @my_loss.least_squares" in text
    assert "my_loss.least_squares.wanted = 1.0" in text
    follow("Resuming such a run")
    assert Image.open(directory / "samples.png").size[0] > 28


def test_a_penalty(page):
    directory, follow = page
    assert last_line(follow("A penalty"))
    with_it = checkpoint(directory / "runs/digits-my_penalty", 20)
    command = COMMANDS["A penalty"].strip() + " --gin_param=drift.weight=0.0 --model_dir=runs/zero"
    follow(None, command)
    without = checkpoint(directory / "runs/zero", 20)
    assert any(not np.array_equal(with_it[name], without[name]) for name in with_it)


def test_a_model_is_invariant_and_resumes_exactly(page):
    directory, follow = page
    assert last_line(follow("A model"))
    halves, replicas = map(float, follow("Checking a model")[-2:])
    assert halves == 0
    assert 0 < replicas < 1e-3
    names = checkpoint(directory / "runs/whole", 20)
    (scale,) = (value for name, value in names.items() if "/scale/" in name)
    assert scale.shape == (32,) and np.any(scale != 1)  # the layer of its own has learned


def test_the_distance_tells_statistics_of_each_replica(page):
    directory, follow = page
    model = directory / "my_model.py"
    apart = model.read_text().replace("synchronized=True", "synchronized=False")
    (directory / "apart.py").write_text(apart.replace('package="my_model"', 'package="apart"'))
    config = (directory / "my_model.gin").read_text().replace("my_model", "apart")
    (directory / "apart.gin").write_text(config)
    commands = re.sub(r".*halves.*\n", "", COMMANDS["Checking a model"])
    (distance,) = follow(None, commands.replace("my_model", "apart").replace("runs/", "apart/"))[
        -1:
    ]
    assert float(distance) > 1e-3


def test_a_dataset(page):
    directory, follow = page
    assert last_line(follow("A dataset"))
    assert '"dataset": "shapes"' in (directory / "runs/my_data/compatibility.json").read_text()
    assert '"dataset size": 600' in (directory / "runs/my_data/compatibility.json").read_text()


def test_a_strategy_changes_nothing_but_rounding(page):
    directory, follow = page
    assert last_line(follow("A strategy"))
    # In float32 the tutorial's GAN has activations at LeakyReLU's kink, where rounding decides.
    exact = COMMANDS["A strategy"].strip() + " --gin_param=\"train.precision='float64'\""
    follow(None, f"{exact} --model_dir=runs/two")
    follow(None, f"{exact.replace('--gin_file=my_strategy.gin', '')} --model_dir=runs/one")
    runs = (directory / "runs" / name for name in ("two", "one"))
    two, one = ({k: v for k, v in checkpoint(run, 20).items() if "rator/" in k} for run in runs)
    far = sum(np.sum((two[name] - one[name]) ** 2) for name in one)
    assert 0 < far < 1e-20 * sum(np.sum(value**2) for value in one.values())
