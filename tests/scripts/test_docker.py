"""The Dockerfile, as far as it goes without Docker: its syntax, its context and its entry point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import environment
from support.weights import checkpoint

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "scripts" / "docker" / "Dockerfile"
INSTRUCTIONS = [
    line.split(maxsplit=1) for line in DOCKERFILE.read_text().splitlines() if line[:1].isupper()
]


def arguments(instruction):
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed; its package is made for x86-64 Linux")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_context_holds_what_is_copied_and_no_more():
    copied = {source for rest in arguments("COPY") for source in rest.split()[:-1]}
    assert copied and all((ROOT / source).exists() for source in copied)
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"
    ]
    assert first == "*"
    assert {line[1:] for line in rest if line.startswith("!")} == copied


def test_it_does_not_run_as_root():
    assert arguments("USER") == ["1000"]


@pytest.mark.slow
def test_sigterm_reaches_the_entry_point_as_process_1(tmp_path):
    """Linux gives the first process of a container only the signals that it listens to."""
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no PID namespaces")
    python, *rest = json.loads(arguments("ENTRYPOINT")[0])
    assert python == "python"
    entry_point = [sys.executable, *rest]
    flags = ["--gin_file=digits.gin", f"--model_dir={tmp_path}"]
    flags += ["--gin_param=train.steps_per_loop=5"]
    container = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", *entry_point, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    for line in container.stdout:
        if "step 5/" in line:
            break
    task = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    (first,) = map(int, task.read_text().split())
    os.kill(first, signal.SIGTERM)
    out, _ = container.communicate(timeout=60)
    assert container.returncode == 143, out
    assert "Stopped by SIGTERM at step" in out
    (saved,) = tmp_path.glob("checkpoints/step-*.index")
    assert checkpoint(tmp_path, int(saved.stem.removeprefix("step-")))
