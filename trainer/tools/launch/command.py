"""A launcher's command line: the flags and checks that all share, and the commands that it runs.

Every launcher is run as `python scripts/launch/PLACE.py --flags -- arguments of trainer.main`.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from trainer.errors import TrainerError

DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the exact commands and start nothing.")
MAX_RESTARTS = flags.DEFINE_integer(
    "max_restarts", 3, "Number of times to restart all workers after one died.", lower_bound=0
)
GRACE = flags.DEFINE_float(
    "grace",
    30,
    "Seconds that workers have to save and stop after Ctrl-C or SIGTERM.",
    lower_bound=0,
)

MULTI_WORKER = "--gin_file=hardware/multi_worker.gin"


def trainer_arguments(
    arguments: Sequence[str], *, remote: bool = True, bucket: bool = False
) -> list[str]:
    """The trainer's arguments, checked: a later start must find the run again.

    Args:
      arguments: The arguments after `--`.
      remote: Whether the trainer runs on other machines, and needs a --model_dir.
      bucket: Whether the machines' disks are deleted with them, and --model_dir must be a bucket.

    Raises:
      TrainerError: if --model_dir is missing, or must be in a bucket and is not.
    """
    named = [a.partition("=")[2] for a in arguments if a.startswith("--model_dir=")]
    if remote and not named:
        raise TrainerError(
            "no --model_dir=DIR after `--`: name one that all machines see, so that it can resume"
        )
    if bucket and not named[-1].startswith("gs://"):
        raise TrainerError(
            f"--model_dir={named[-1]} must be in a bucket, gs://..., which outlives the machines"
        )
    return list(arguments)


def require(**values: str | None) -> None:
    """Checks that flags, given by name, have a value.

    Raises:
      TrainerError: naming the first one that has none.
    """
    for name, value in values.items():
        if not value:
            raise TrainerError(f"no --{name}=... given; --help says what it is")


def require_file(flag: str, path: str) -> None:
    """Checks that the wheel that a flag names exists.

    Raises:
      TrainerError: if it does not, with the command that makes one.
    """
    if not Path(path).is_file():
        raise TrainerError(
            f"--{flag}={path} does not exist; make it with: pip wheel --no-deps --wheel-dir=dist ."
        )


def say(line: str) -> None:
    """Prints a line in one write, since several threads print."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_error(line: str) -> None:
    """Prints an error that does not end the program."""
    sys.stderr.write(f"error: {line}\n")
    sys.stderr.flush()


def missing_tool(name: str) -> TrainerError:
    """The error for a program that cannot be found."""
    return TrainerError(f"{name} is not installed here, or not in PATH")


def run(command: Sequence[str]) -> int:
    """Prints a command and, unless --dry_run is given, runs it.

    Returns:
      Its exit code; 0 with --dry_run.

    Raises:
      TrainerError: if there is no such program.
    """
    say(f"+ {shlex.join(command)}")
    if DRY_RUN.value:
        return 0
    try:
        return subprocess.run(command).returncode
    except FileNotFoundError as error:
        raise missing_tool(command[0]) from error


def run_or_fail(command: Sequence[str]) -> None:
    """Prints a command and runs it, unless --dry_run is given.

    Raises:
      TrainerError: if it fails.
    """
    if code := run(command):
        raise TrainerError(
            f"{shlex.join(command[:5])} ... ended with code {code}; its own lines say why"
        )
