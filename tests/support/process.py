"""The trainer as a process: its command, its environment, and what it prints."""

from __future__ import annotations

import os
import subprocess
import sys

SMALL = ["--gin_param=train.num_steps=6", "--gin_param=train.steps_per_loop=2"]
SMALL += ["--gin_param=train.sample_every=4", "--gin_param=train.checkpoint_every=3"]
SMALL += ["--gin_param=train.kernels=[]"]  # XLA would compile for longer than these steps take
DIGITS = ["--gin_file=digits.gin", *SMALL]
"""Six steps on the embedded digits, two in each call on the devices."""


def command(*arguments):
    return [sys.executable, "-m", "trainer.main", *arguments]


def environment(**changes):
    """This process's environment without GPUs, with `changes`."""
    return os.environ | {"CUDA_VISIBLE_DEVICES": ""} | changes


def run(*arguments, code=0, cwd=None, **changes):
    """Runs the trainer to its end in `environment(**changes)`.

    Returns its standard output and its standard error, after checking the exit code.
    """
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=environment(**changes),
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def error_line(*arguments, code=1, **settings):
    """The one line that a refused command prints."""
    _, log = run(*arguments, code=code, **settings)
    line = log.splitlines()[-1]
    assert line.startswith("error: ")
    return line
